#!/usr/bin/python3
"""What flotillad and systemd say to each other, on the socket between them."""
import signal
import time
import unittest

from daemon import PATIENCE_S, Daemon


class NotifyTest(unittest.TestCase):
    def test_it_is_ready_when_it_can_be_used_and_says_how_it_ends(self):
        with Daemon() as daemon:
            self.assertIn("STATUS=starting: reading the store", "\n".join(daemon.heard))
            self.assertTrue(any(message.startswith("EXTEND_TIMEOUT_USEC=") for message in daemon.heard))
            daemon.wait_to_hear("STATUS=joined")
            daemon.use()
            daemon.process.send_signal(signal.SIGTERM)
            daemon.wait_to_hear("STOPPING=1")
            self.assertEqual(daemon.process.wait(timeout=PATIENCE_S), 0)
            self.assertNotIn("WATCHDOG=1", daemon.heard)  # nobody asked for it

    def test_the_watchdog_is_fed_in_time(self):
        with Daemon(watchdog_s=3) as daemon:
            daemon.wait_to_hear("WATCHDOG=1")
            for _ in range(3):
                begin = time.monotonic()
                daemon.wait_to_hear("WATCHDOG=1")
                self.assertLess(time.monotonic() - begin, 3)

    def test_a_configuration_that_is_wrong_changes_nothing_and_everybody_can_see_it(self):
        with Daemon() as daemon:
            self.assertEqual(daemon.metric("flotilla_config_reload_success"), 1)
            daemon.write_config("log:\n  level: loud\n")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_to_hear("not reloaded")
            self.assertEqual(daemon.metric("flotilla_config_reload_success"), 0)
            self.assertIn("reload_refused", daemon.log.read_text())
            self.assertIn("log.level", daemon.log.read_text())

            daemon.write_config("limits:\n  max_streams: 77\nlog:\n  verbosity: 1\n")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_to_hear("restart to apply limits.max_streams")
            self.assertEqual(daemon.metric("flotilla_config_reload_success"), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
