from __future__ import annotations

import socket

from lipwright.cli.serving import listen


def test_answers_are_sent_at_once_and_do_not_wait_for_the_client_to_confirm_their_head():
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
