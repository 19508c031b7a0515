#!/usr/bin/python3
"""Writes the Grafana dashboard flotilla.json from the list below. A test compares the two, and the names with /metrics.

    deploy/grafana/make.py > deploy/grafana/flotilla.json
"""
import json

RATE = "[$__rate_interval]"

# Row, title, unit of Grafana, [(expression, legend), ...]
PANELS = [
    ("Cluster", "Nodes", "short", [("max by (state) (flotilla_cluster_nodes)", "{{state}}")]),
    ("Cluster", "Leader of the metadata", "short", [("flotilla_controller_node_id", "{{instance}}")]),
    ("Cluster", "Partitions without a leader", "short", [("max(flotilla_leaderless_partitions)", "without a leader")]),
    ("Cluster", "Partitions with a replica that is not in sync", "short", [("flotilla_under_replicated_partitions", "{{instance}}")]),
    ("Cluster", "Replicas that are not open", "short", [("flotilla_partitions_not_open", "{{instance}}")]),
    ("Cluster", "Partitions led", "short", [('flotilla_partitions{state="leader"}', "{{instance}}")]),
    ("Cluster", "Versions", "short", [("count by (version) (flotilla_up_info)", "{{version}}")]),
    ("Traffic", "Records written", "wps", [(f"rate(flotilla_produced_records_total{RATE})", "{{instance}}")]),
    ("Traffic", "Bytes written", "Bps", [(f"rate(flotilla_produced_bytes_total{RATE})", "{{instance}}")]),
    ("Traffic", "Records read", "rps", [(f"rate(flotilla_fetched_records_total{RATE})", "{{instance}}")]),
    ("Traffic", "Bytes read", "Bps", [(f"rate(flotilla_fetched_bytes_total{RATE})", "{{instance}}")]),
    ("Traffic", "Passed on to another node", "ops", [(f"rate(flotilla_forwarded_requests_total{RATE})", "{{instance}}")]),
    ("Traffic", "Streams and subscriptions", "short", [
        ("flotilla_client_streams", "{{instance}} streams"), ("flotilla_subscriptions", "{{instance}} subscriptions")]),
    ("Calls", "Calls by outcome", "ops", [(f"sum by (code) (rate(flotilla_requests_total{RATE}))", "{{code}}")]),
    ("Calls", "p99 by method", "s", [(
        f"histogram_quantile(0.99, sum by (method, le) (rate(flotilla_request_seconds_bucket{RATE})))", "{{method}}")]),
    ("Calls", "p99 by stage", "s", [(
        f"histogram_quantile(0.99, sum by (stage, le) (rate(flotilla_stage_seconds_bucket{RATE})))", "{{stage}}")]),
    ("Calls", "Batches refused or failed", "ops", [(f"rate(flotilla_produce_failed_items_total{RATE})", "{{instance}}")]),
    ("Calls", "Refused at the edge", "ops", [(f"sum by (reason) (rate(flotilla_throttled_total{RATE}))", "{{reason}}")]),
    ("Calls", "Not yet answered", "bytes", [("flotilla_inflight_bytes", "{{instance}}")]),
    ("Disk", "A synced write", "s", [
        (f"histogram_quantile(0.5, sum by (instance, le) (rate(flotilla_fsync_seconds_bucket{RATE})))", "{{instance}} p50"),
        (f"histogram_quantile(0.99, sum by (instance, le) (rate(flotilla_fsync_seconds_bucket{RATE})))", "{{instance}} p99")]),
    ("Disk", "Synced writes", "iops", [(f"rate(flotilla_fsync_seconds_count{RATE})", "{{instance}}")]),
    ("Disk", "Too sick to lead with", "short", [("flotilla_disk_unfit", "{{instance}} {{reason}}")]),
    ("Disk", "Log written", "Bps", [(f"rate(flotilla_log_bytes_total{RATE})", "{{instance}}")]),
    ("Disk", "Waiting for a synced write", "bytes", [("flotilla_log_queue_bytes", "{{instance}}")]),
    ("Disk", "Free space", "bytes", [("flotilla_disk_free_bytes", "{{instance}}")]),
    ("Disk", "Writes held back by RocksDB", "percentunit", [(
        f"rate(flotilla_rocksdb_stall_seconds_total{RATE})", "{{instance}}")]),
    ("Raft", "Groups led", "short", [("flotilla_raft_groups_led", "{{instance}}")]),
    ("Raft", "Changes of leaders", "cps", [(f"rate(flotilla_raft_leader_changes_total{RATE})", "{{instance}}")]),
    ("Raft", "Messages sent", "pps", [(f"rate(flotilla_raft_messages_sent_total{RATE})", "{{instance}}")]),
]

WIDTH, HEIGHT = 8, 7  # of a panel; a row has 24 columns


def panel(number, title, unit, targets, x, y):
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expression, "legendFormat": legend}
            for i, (expression, legend) in enumerate(targets)
        ],
    }


def dashboard():
    panels, row, x, y = [], None, 0, 0
    for name, title, unit, targets in PANELS:
        if name != row:
            y += HEIGHT if row and x else 0
            panels.append({"id": len(panels) + 1, "type": "row", "title": name, "collapsed": False, "panels": [],
                           "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
            row, x, y = name, 0, y + 1
        panels.append(panel(len(panels) + 1, title, unit, targets, x, y))
        x += WIDTH
        if x == 24:
            x, y = 0, y + HEIGHT
    return {
        "uid": "flotilla",
        "title": "Flotilla",
        "schemaVersion": 38,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
