#!/bin/sh
# What Spark asks an executor at its start: {"name": "gpu", "addresses": ["0", "1"]}
nvidia-smi --query-gpu=index --format=csv,noheader | awk '{ printf "%s\"%s\"", separator, $1; separator = ", " }
  BEGIN { printf "{\"name\": \"gpu\", \"addresses\": [" } END { print "]}" }'
