"""The check under CPython, against a scripted worker: `python3 -m unittest`."""

import sys
import unittest

sys.path.insert(0, "vendor")

from lapwing_plugin.testing import Reply, Script, fault, run  # noqa: E402 (the folder comes first)

from plugin import Checker  # noqa: E402


def look(http):
    return run(Checker, "{{name}}", {"url": "http://page.test/", "contains": "open"}, Script(http=http))


def failing(error):
    def answer(request):
        raise error

    return answer


class TextOnAPage(unittest.TestCase):
    def test_a_page_with_the_text_is_up(self):
        ended = look(lambda request: Reply(body="we are open"))
        self.assertEqual((ended.status, ended.attributes["page.bytes"]), ("up", 11))

    def test_a_page_without_the_text_is_down(self):
        ended = look(lambda request: Reply(body="gone fishing"))
        self.assertEqual((ended.status, ended.reason), ("down", "assertion_failed"))

    def test_a_page_of_which_only_a_part_came_says_nothing(self):
        self.assertEqual(look(lambda request: Reply(body=" " * 300_000 + "open")).error, "Internal")

    def test_a_server_that_refuses_is_down_and_a_call_that_the_worker_refuses_is_not(self):
        self.assertEqual(look(failing(fault("Refused"))).reason, "connection_refused")
        self.assertEqual(look(failing(fault("AccessDenied", "no rule"))).error, "Denied")


if __name__ == "__main__":
    unittest.main()
