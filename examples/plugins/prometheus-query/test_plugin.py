"""The check under CPython, against a scripted worker: `python3 -m unittest`, after `lapwing plugin build`."""

import sys
import unittest

sys.path.insert(0, "vendor")

from lapwing_plugin.testing import Reply, Script, run  # noqa: E402 (the folder comes first)

from plugin import Checker  # noqa: E402

CONFIG = {"url": "http://prom.test/", "query": "load1", "op": ">", "warning": 4, "critical": 8}


def vector(*values):
    result = [{"metric": {"__name__": "load1", "host": f"h{i}"}, "value": [1, value]} for i, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def look(json, status=200, **config):
    return run(Checker, "prometheus-query", {**CONFIG, **config}, Script(http=lambda request: Reply(status, json=json)))


class Thresholds(unittest.TestCase):
    def test_the_worst_series_counts(self):
        self.assertEqual(look(vector("1", "3.5")).status, "up")
        self.assertEqual(look(vector("1", "5")).status, "degraded")
        ended = look(vector("1", "5", "9"))
        self.assertEqual((ended.status, ended.reason), ("down", "prometheus_threshold"))
        self.assertEqual(ended.message, 'load1{host="h2"} = 9 (> 8)')

    def test_a_scalar_is_a_value_too(self):
        ended = look({"data": {"resultType": "scalar", "result": [1, "2"]}})
        self.assertEqual((ended.status, ended.metrics), ("up", {"prometheus.value": 2}))

    def test_no_series_is_what_the_config_says(self):
        self.assertEqual(look(vector()).status, "down")
        self.assertEqual(look(vector(), empty="up").status, "up")

    def test_thousands_of_series_are_read_and_an_answer_that_is_too_large_is_no_outage(self):
        self.assertEqual(look(vector(*["1"] * 5_000)).status, "up")
        self.assertEqual(look(vector(*["1"] * 50_000)).error, "Internal")

    def test_nan_never_passes_for_well(self):
        self.assertEqual(look(vector("1", "NaN")).status, "unknown")

    def test_a_query_that_the_server_refuses_is_a_fault_of_the_config(self):
        ended = look({"status": "error", "error": "parse error at char 5"}, status=400)
        self.assertEqual((ended.error, "parse error" in ended.message), ("InvalidConfig", True))

    def test_an_answer_of_something_else_breaks_the_protocol(self):
        for odd in ([], {"data": {}}, {"data": {"resultType": "vector", "result": [{}]}}, "text"):
            self.assertEqual(look(odd).reason, "protocol_error", odd)


if __name__ == "__main__":
    unittest.main()
