"""gunicorn with the application loaded once, before its workers are forked, under auto-instrumentation.

    versori-flow run --service-name web -- gunicorn --config examples/gunicorn_conf.py flask_app:app
    curl http://127.0.0.1:8000/hello/ada

The exporter is made in the master and starts anew in each worker; all of them write one flow.
"""

import os
from pathlib import Path

bind = os.environ.get("BIND", "127.0.0.1:8000")
chdir = str(Path(__file__).parent)
preload_app = True
workers = 2
