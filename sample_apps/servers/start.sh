#!/bin/sh
# A start script as many images have one: it prepares something and starts the app. Without a word more the app is its child, and signals
# for the script do not reach it; with HOW=exec the script becomes the app.
echo "preparing"
if [ "$HOW" = exec ]; then exec "$PYTHON" -m sample_apps.web; fi
"$PYTHON" -m sample_apps.web
echo "ended with status $?"
