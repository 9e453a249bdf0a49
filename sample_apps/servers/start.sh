#!/bin/sh
# A start script as many images have one: it prepares something and starts the app as its child. `exec` before the last command would do.
echo "preparing"
"$PYTHON" -m sample_apps.web
echo "ended with status $?"
