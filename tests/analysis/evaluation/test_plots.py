"""Pictures and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.evaluation.plots import confusion_png, pr_png, report_html, thinned


def test_a_curve_is_drawn_where_it_belongs(tmp_path: Path) -> None:
    line = np.linspace(0, 1, 1000)
    pr_png(tmp_path / "pr.png", "a title", [("cat", line, np.full(1000, 0.5))], np.stack([line, np.full(1000, 0.25)], axis=1))
    with Image.open(tmp_path / "pr.png") as picture:
        pixels = np.asarray(picture)
    assert (pixels[40 + 420, 100:800] == (11, 99, 197)).all()  # the mean, a quarter up
    assert not (pixels[40 + 200, 100:800] == (11, 99, 197)).any()


def test_confusions_of_three_and_of_two_thousand_classes(tmp_path: Path) -> None:
    confusion_png(tmp_path / "few.png", "猫", ["cat", "犬", "(background)"], [(0, 0, 5), (0, 1, 5), (2, 1, 1)])
    confusion_png(tmp_path / "many.png", "many", [str(number) for number in range(2000)], [(1999, 0, 1)])
    with Image.open(tmp_path / "many.png") as picture:
        assert picture.size == (2040, 2040)
        assert picture.getpixel((20, 20 + 1999)) == (11, 99, 197)
    with Image.open(tmp_path / "few.png") as picture:
        assert picture.getpixel((150 + 120 + 55, 150 + 60 + 5)) == (255, 255, 255)


def test_the_page_needs_no_other_file_and_no_name_ends_its_script(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--"
    model = {"name": evil, "metrics": {"AP": None}, "curves": [], "names": [evil], "confusion": []}
    report_html(tmp_path / "report.html", {"title": evil, "about": "", "definitions": {}, "models": [model]})
    page = (tmp_path / "report.html").read_text()
    assert page.count("</script>") == 2
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org)", page)
    data = re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL)
    assert data
    assert json.loads(data[1])["title"] == evil


def test_long_curves_keep_their_ends() -> None:
    assert thinned(3).tolist() == [0, 1, 2]
    assert (thinned(10_000)[0], thinned(10_000)[-1], len(thinned(10_000))) == (0, 9999, 200)
    assert thinned(0).tolist() == []
