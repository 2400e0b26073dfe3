#!/bin/bash
export OMP_WAIT_POLICY=PASSIVE
exec python3 start.py
