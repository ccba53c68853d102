"""Use a service: python examples/use_a_service.py VIDEO AUDIO OUT.

Set LIPWRIGHT_URL and LIPWRIGHT_API_KEY first; ``lipwright serve`` prints both.
"""

from __future__ import annotations

import sys

import lipwright


def main(video: str, audio: str, out: str) -> None:
    """Submit a job, follow it, and save its video to *out*; files are uploaded, URLs passed on."""
    with lipwright.Client() as client:
        job = client.submit(video, audio)
        print(f"job {job.id}")  # client.job(id) finds it again, in another process or another day
        for status in job.events():
            print(f"{status.state} {status.stage} {status.fraction:.0%}")
        try:
            result = job.result(timeout_s=60)
        except lipwright.LipwrightError as error:  # the error that a local job would have raised
            sys.exit(f"{error.code}: {error}")
        print(client.download(result, out))


if __name__ == "__main__":
    main(*sys.argv[1:])
