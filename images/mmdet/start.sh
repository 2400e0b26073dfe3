#!/bin/bash
cd /app && exec bash start.sh
