#!/bin/bash
exec python3 start.py
