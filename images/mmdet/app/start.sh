#!/bin/bash
# Threads that wait do not spin: on busy machines spinning takes the CPU from the thread that is waited for.
export OMP_WAIT_POLICY=PASSIVE MPLCONFIGDIR=${TMPDIR:-/tmp}/matplotlib
exec python3 start.py
