"""A Django project in one file, under auto-instrumentation.

    DJANGO_SETTINGS_MODULE=django_app versori-flow run -- python examples/django_app.py runserver --noreload
    curl http://127.0.0.1:8000/hello/ada

The instrumentation adds its middleware to the settings before the program starts, which is why it has to be
told where they are; `PYTHONPATH=examples` makes them importable from elsewhere than their own folder.
"""

import signal
import sys

from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path

SECRET_KEY = "only-for-this-example"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = __name__ if __name__ != "__main__" else "django_app"
MIDDLEWARE: list[str] = []
USE_TZ = True


def hello(request: HttpRequest, name: str) -> JsonResponse:
    return JsonResponse({"hello": name})


def broken(request: HttpRequest) -> JsonResponse:
    raise RuntimeError("the boiler is empty")


urlpatterns = [path("hello/<name>", hello), path("broken", broken)]

if __name__ == "__main__":
    # SIGTERM as SystemExit, so that the exit handlers run, and with them the last delivery.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    execute_from_command_line(sys.argv)
