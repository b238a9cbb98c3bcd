# One image for both services; docker-compose.yml says which of them a container is.

FROM python:3.11-slim AS dependencies
# The environment has no pip of its own: nothing is ever installed into it later.
RUN python3 -m venv --without-pip /opt/venv
ENV PIP_PYTHON=/opt/venv/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.txt .
RUN pip install --requirement requirements.txt \
    # Tests that packages bring along are large and never run here.
    && find /opt/venv/lib -type d -name tests -prune -exec rm -rf {} +

FROM dependencies AS project
WORKDIR /app
COPY . .
# Into a folder of its own: a change of the code then adds kilobytes to the image, not the whole environment again.
RUN pip install --no-deps --prefix /opt/project --editable .

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --home-dir /app --no-create-home --shell /usr/sbin/nologin understudy
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=project /opt/project /opt/venv
WORKDIR /app
COPY . .
# The service cannot write its own code, so what Python would keep beside it is made here.
RUN /opt/venv/bin/python -m compileall -q .
# A new named volume takes the owner and the mode of the folder that it is mounted on.
RUN install -d -o understudy -g understudy -m 0750 \
    api/prod_models secrets var logs scheduled_task/retrained_models scheduled_task/test_data
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
USER understudy
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["python", "-m", "api.main"]
