#!/bin/sh
# Plants: the app is started as a child and not by exec, so this shell stays process 1. To be found: it keeps SIGTERM to itself.
python -m sample_apps.web
status=$?
echo "the app ended with status $status"
exit "$status"
