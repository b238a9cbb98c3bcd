"""The API as the scheduler and the command line see it.

A failing answer is raised as the error that it names (`errors.py`), so callers need not know statuses. What the API
recognises when it hears it twice is sent again after a cut or a 503; a claim is not, since its first answer may have
been a run.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from understudy import errors
from understudy.errors import Unauthenticated, Unavailable, UnderstudyError
from understudy.events import Role
from understudy.settings import Settings

CONNECT_S = 5.0
ANSWER_S = 60.0
"""A registration is tried before it is answered: some seconds, and a minute at most."""
BUSY = (502, 503, 504)

TokenSource = Callable[[], str | None]
"""Asked for the bearer token when one is needed, since it may be replaced while we run; None: send none."""


class ApiClient:
    """HTTP to the API: paths and JSON in, JSON out. Not for two threads at once.

    Every method raises Unavailable where nothing answers in time or the answer is a 5xx, and otherwise the error
    that the answer names.
    """

    def __init__(self, url: str, token: TokenSource, *, retries: int = 3, answer_s: float = ANSWER_S) -> None:
        """`retries`: how often a request that the API would recognise is sent again; `answer_s`: longest silence."""
        self._url, self._token, self._answer_s = url.rstrip("/"), token, answer_s
        self._known: str | None = None
        self._once = _session(_retry(retries, Retry.DEFAULT_ALLOWED_METHODS))
        self._again = _session(_retry(retries, None))

    def get(self, path: str, **query: str | int | None) -> Any:
        return self._json(self._send(self._again, "GET", path, params=query))

    def readiness(self) -> Any:
        """What `/ready` says, also where it says no, with a 503."""
        return self._json(self._exchange(self._once, "GET", "/ready", None, {}))

    def download(self, path: str) -> bytes:
        return self._send(self._again, "GET", path).content

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._json(self._send(self._again, "PUT", path, json=body))

    def post(self, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str | None] | None = None) -> Any:
        """Send what may arrive twice: the API knows it by its slot, token, digest or Idempotency-Key."""
        return self._json(self._send(self._again, "POST", path, json=body, headers=headers))

    def post_list(self, path: str, items: Sequence[Mapping[str, Any]]) -> Any:
        """Send many of what may arrive twice."""
        return self._json(self._send(self._again, "POST", path, json=items))

    def post_once(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send what must not arrive twice. None for an answer without content."""
        return self._json(self._send(self._once, "POST", path, json=body))

    def upload(self, path: str, data: bytes, *, headers: Mapping[str, str | None] | None = None) -> Any:
        """Send a bundle; the API knows it by its digest."""
        kind = {"Content-Type": "application/zip", **(headers or {})}
        return self._json(self._send(self._again, "POST", path, data=data, headers=kind))

    def close(self) -> None:
        self._once.close()
        self._again.close()

    def _send(
        self,
        session: requests.Session,
        method: str,
        path: str,
        headers: Mapping[str, str | None] | None = None,
        **given: Any,  # what `requests` takes for a body or a query
    ) -> requests.Response:
        answer = self._exchange(session, method, path, headers, given)
        if answer.status_code == 401 and self._known != (fresh := self._token()):
            self._known = fresh  # rotated since we read it
            answer = self._exchange(session, method, path, headers, given)
        if not answer.ok or answer.is_redirect:
            raise error_of(answer)
        return answer

    def _exchange(
        self,
        session: requests.Session,
        method: str,
        path: str,
        headers: Mapping[str, str | None] | None,
        given: Mapping[str, Any],
    ) -> requests.Response:
        if self._known is None:
            self._known = self._token()
        bearer = {} if self._known is None else {"Authorization": f"Bearer {self._known}"}
        try:
            return session.request(
                method,
                self._url + path,
                headers={**bearer, **(headers or {})},
                timeout=(CONNECT_S, self._answer_s),
                allow_redirects=False,
                **given,
            )
        except requests.RequestException as error:
            raise Unavailable(
                f"The API at {self._url} does not answer ({type(error).__name__}).",
                remedy="Start it with `make run`, or correct UNDERSTUDY_API_URL.",
            ) from error

    def _json(self, answer: requests.Response) -> Any:
        if answer.status_code == 204:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise Unavailable(
                f"What answers at {self._url} does not speak as the API does.", remedy="Correct UNDERSTUDY_API_URL."
            ) from error


def token_of(role: Role, settings: Settings) -> TokenSource:
    """Read the token of `role` where the settings or the API keep it; raises Unauthenticated where there is none."""
    given = {
        "operator": settings.operator_token,
        "scheduler": settings.scheduler_token,
        "client": settings.client_token,
    }[role]
    folder = settings.secrets if role == "scheduler" else settings.var
    return lambda: given.get_secret_value() if given is not None else read_token(folder / f"{role}.token")


def read_token(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unauthenticated(
            f"There is no {file.name} that could be read.",
            remedy=f"Start the API, which makes it, or set UNDERSTUDY_{file.stem.upper()}_TOKEN.",
        ) from error


def error_of(answer: requests.Response) -> UnderstudyError:
    """The error that a failing answer names; a 5xx without a name of ours is Unavailable."""
    try:
        body = answer.json()
        code, problem, remedy = str(body["code"]), str(body["detail"]), str(body["remedy"])
    except (ValueError, KeyError, TypeError):
        code, problem, remedy = "", f"The API answered {answer.status_code}.", "See its log."
    unknown = Unavailable if answer.status_code >= 500 else UnderstudyError
    return BY_CODE.get(code, unknown)(problem, remedy=remedy)


def _by_code(root: type[UnderstudyError]) -> dict[str, type[UnderstudyError]]:
    found = {root.code: root}
    for kind in root.__subclasses__():
        found |= _by_code(kind)
    return found


BY_CODE: Mapping[str, type[UnderstudyError]] = _by_code(errors.UnderstudyError)


def _retry(total: int, methods: Any) -> Retry:
    """`methods`: which may arrive twice; None: any. A connection that was never made is tried again in any case."""
    return Retry(
        total=total,
        allowed_methods=methods,
        status_forcelist=BUSY,
        raise_on_status=False,
        redirect=False,
        backoff_factor=0.2,
        backoff_jitter=0.2,
    )


def _session(retry: Retry) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy or a .netrc of the environment knows nothing of this API
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    return session
