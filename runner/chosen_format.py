"""Which of several formats that recognise a folder is meant."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.seams import Format


def most_specific(formats: Mapping[str, Format], fitting: Mapping[str, str]) -> dict[str, str]:
    """Of the formats that fit (name and why), those that no other of them is more specific than; their reasons tell what else fits.

    A folder of YMIR is also one of VOC, and a manifest lies beside VOC files: the one that was made for the whole layout is meant.
    """
    implied = {name: {other for other in fitting if other in formats[name].more_specific_than} for name in fitting}
    kept = [name for name in fitting if not any(name in others for others in implied.values())]
    return {name: fitting[name] + _also(fitting, implied[name]) for name in kept}


def _also(fitting: Mapping[str, str], others: set[str]) -> str:
    return f" (less specific: {'; '.join(f'{name}: {fitting[name]}' for name in sorted(others))})" if others else ""
