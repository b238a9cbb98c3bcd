"""What may call itself a refit, over HTTP."""

from pathlib import Path

from api.tests import given


def test_a_version_that_a_person_has_promoted_is_no_refit_any_more(tmp_path: Path) -> None:
    bundle = given.bundle()
    with given.api(tmp_path) as api:
        assert api.serve(bundle) == "1"
        body = {"of": "1", "evidence": given.evidence(api.store, bundle, None)}

        answer = api.client.post("/models/rain/versions/1/refit", json=body, headers=api.token("operator"))

        assert answer.status_code == 409
        assert "promoted" in answer.json()["detail"]
        assert api.client.get("/ready").status_code == 200
        assert api.kinds()[-1] == "version.promoted"
