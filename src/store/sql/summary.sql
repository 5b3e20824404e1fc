-- How much does the database hold?
SELECT
    (SELECT count(*) FROM run) AS runs,
    (SELECT count(*) FROM run WHERE status <> 'ok') AS not_ok,
    (SELECT count(*) FROM run WHERE status <> 'ok' AND status = 'unsupported') AS unsupported,
    (SELECT count(*) FROM configuration) AS configurations,
    (SELECT count(*) FROM model) AS models,
    (SELECT count(*) FROM device) AS devices,
    (SELECT count(*) FROM campaign) AS campaigns,
    (SELECT count(*) FROM planned_run WHERE state <> 'done') AS open_runs
