#!/usr/bin/python3
"""What deploy/ ships fits to the programs: nothing there names a key, a metric or a command that does not exist."""
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from daemon import Daemon, FLOTILLA, FLOTILLAD

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
UNITS = ("flotilla.service", "flotilla@.service")


def output(*command, check=True, **options):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def needs(program):
    return unittest.skipIf(shutil.which(program) is None, f"{program} is not installed")


def alerts():
    """{name: expression}"""
    text = (DEPLOY / "prometheus/alerts.yml").read_text()
    return dict(re.findall(r"- alert: (\w+)\n\s+expr: (.*)\n", text))


def metrics_of(expression):
    """Names of families: a histogram's series count as the histogram."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bflotilla_\w+", expression)}


class UnitsTest(unittest.TestCase):
    @needs("systemd-analyze")
    def test_systemd_has_nothing_to_say_against_the_units(self):
        for unit in UNITS:
            said = output("systemd-analyze", "verify", "--man=no", DEPLOY / "systemd" / unit, check=False)
            # it is not installed here, which is all that may be wrong
            rest = [line for line in said.splitlines() if "/usr/bin/flotillad is not executable" not in line and unit.replace("@", "@i") in line]
            self.assertEqual(rest, [], unit)

    @needs("systemd-analyze")
    def test_the_units_expose_little(self):
        for unit in UNITS:
            said = output("systemd-analyze", "security", "--offline=true", "--threshold=20", DEPLOY / "systemd" / unit)
            self.assertIn("Overall exposure level", said)

    def test_both_units_are_the_same_but_for_their_paths(self):
        one, many = ((DEPLOY / "systemd" / unit).read_text().split("[Unit]")[1] for unit in UNITS)
        many = many.replace(" (node %i)", "").replace("/etc/flotilla/%i.yaml", "/etc/flotilla/flotilla.yaml").replace("flotilla-%i", "flotilla")
        self.assertEqual(one, many)


class ConfigurationTest(unittest.TestCase):
    def test_the_file_is_what_the_program_prints(self):
        self.assertEqual((DEPLOY / "flotilla.yaml").read_text(), output(FLOTILLAD, "--print-default-config"),
                         "flotillad --print-default-config > deploy/flotilla.yaml")

    def test_the_examples_are_right_and_belong_together(self):
        files = sorted((DEPLOY / "example-3node").glob("node*.yaml"))
        self.assertEqual(len(files), 3)
        seeds = set()
        for file in files:
            self.assertIn("all is well", output(FLOTILLAD, "--check-config", file))
            seeds.add(re.search(r"seeds: (.*)", file.read_text())[1])
        self.assertEqual(len(seeds), 1)

    def test_an_unconfigured_file_is_refused_as_such(self):
        done = subprocess.run([FLOTILLAD, "--config", DEPLOY / "flotilla.yaml"], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 78)  # what the unit does not try again
        self.assertIn("cluster.name", done.stderr)


class MonitoringTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with Daemon() as daemon:
            daemon.use()
            cls.families = set(re.findall(r"^# TYPE (\w+) ", daemon.metrics(), re.M))

    def test_alerts_name_metrics_that_exist(self):
        self.assertTrue(self.families)
        for name, expression in alerts().items():
            self.assertLessEqual(metrics_of(expression), self.families, name)
            self.assertTrue(metrics_of(expression) or expression.startswith("up{"), name)

    def test_panels_name_metrics_that_exist(self):
        for panel in json.loads((DEPLOY / "grafana/flotilla.json").read_text())["panels"]:
            for target in panel.get("targets", []):
                self.assertTrue(metrics_of(target["expr"]), panel["title"])
                self.assertLessEqual(metrics_of(target["expr"]), self.families, panel["title"])

    def test_the_dashboard_is_made_from_its_list(self):
        self.assertEqual((DEPLOY / "grafana/flotilla.json").read_text(), output(DEPLOY / "grafana/make.py"),
                         "deploy/grafana/make.py > deploy/grafana/flotilla.json")

    @needs("promtool")
    def test_alerts_fire_when_they_should(self):
        output("promtool", "check", "rules", DEPLOY / "prometheus/alerts.yml")
        self.assertIn("SUCCESS", output("promtool", "test", "rules", "alerts_test.yml", cwd=DEPLOY / "prometheus"))

    def test_every_alert_has_a_section_in_the_runbook(self):
        sections = re.findall(r"^## (Flotilla\w+)$", (DEPLOY / "RUNBOOK.md").read_text(), re.M)
        self.assertEqual(sections, list(alerts()))
        links = re.findall(r"runbook: RUNBOOK.md#(\w+)", (DEPLOY / "prometheus/alerts.yml").read_text())
        self.assertEqual(links, [name.lower() for name in alerts()])


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls._temporary = tempfile.TemporaryDirectory(prefix="flotilla_install_")
        cls.stage = pathlib.Path(cls._temporary.name)
        cls.build = pathlib.Path(FLOTILLAD).parents[1]
        output(DEPLOY / "install.sh", "--build-dir", cls.build, "--stage", cls.stage)

    @classmethod
    def tearDownClass(cls):
        cls._temporary.cleanup()

    def page(self, name):
        return (self.stage / "usr/share/man" / f"man{name[-1]}" / name).read_text().replace("\\-", "-")

    def test_the_manual_has_every_key(self):
        keys = re.findall(r"^  (\w+):", output(FLOTILLAD, "--print-default-config"), re.M)
        self.assertGreater(len(keys), 20)
        page = self.page("flotilla.yaml.5")
        for key in keys:
            self.assertRegex(page, rf"\n\.B \w+\.{key}\n")

    def test_the_manual_has_every_command(self):
        page = self.page("flotilla.1")
        for command in ("cluster init", "cluster balance", "node drain", "topic create", "produce", "consume", "partition move"):
            self.assertIn(f'.SS "flotilla {command} ', page)
        for option in ("--config", "--check-config", "--print-default-config", "verify", "dump-log", "--payloads", "recover-metadata"):
            self.assertIn(option, self.page("flotillad.8"))

    @needs("man")
    def test_the_manual_can_be_read(self):
        for name in ("flotilla.1", "flotillad.8", "flotilla.yaml.5"):
            file = self.stage / "usr/share/man" / f"man{name[-1]}" / name
            said = subprocess.run(["man", "--warnings", "-l", file], capture_output=True, text=True, env={**os.environ, "MANWIDTH": "80"})
            self.assertEqual((said.returncode, said.stderr), (0, ""), name)
            self.assertIn("SEE ALSO", said.stdout)

    def test_the_shell_completes(self):
        script = self.stage / "usr/share/bash-completion/completions/flotilla"
        said = output("bash", "-c", f'. {script}; COMP_WORDS=(flotilla cluster i); COMP_CWORD=2; _flotilla; echo "${{COMPREPLY[@]}}"')
        self.assertEqual(said.split(), ["init", "info"])

    def test_again_is_no_different_and_an_uninstall_keeps_configuration_and_data(self):
        def tree():
            return sorted(str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file())

        with tempfile.TemporaryDirectory(prefix="flotilla_install_") as directory:
            stage = pathlib.Path(directory)
            install = (DEPLOY / "install.sh", "--build-dir", self.build, "--stage", stage)
            output(*install)
            first = tree()
            output(*install)
            self.assertEqual(tree(), first)
            for path in ("etc/flotilla/flotilla.yaml", "var/lib/flotilla/NODE"):
                (stage / path).parent.mkdir(parents=True, exist_ok=True)
                (stage / path).write_text("mine")
            output(DEPLOY / "install.sh", "--uninstall", "--stage", stage)
            self.assertEqual(tree(), ["etc/default/flotilla", "etc/flotilla/flotilla.yaml", "var/lib/flotilla/NODE"])

    @needs("shellcheck")
    def test_the_scripts_are_sound(self):
        scripts = [*DEPLOY.glob("*.sh"), *DEPLOY.glob("debian/flotilla.p*")]
        output("shellcheck", *scripts, cwd=DEPLOY.parent)


if __name__ == "__main__":
    unittest.main(verbosity=2)
