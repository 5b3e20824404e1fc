-- How much does the database hold?
SELECT counted.*,
    (SELECT count(*) FROM model) AS models,
    (SELECT count(*) FROM device) AS devices,
    (SELECT count(*) FROM campaign) AS campaigns,
    (SELECT count(*) FROM planned_run WHERE state <> 'done') AS open_runs
FROM (
    SELECT ifnull(sum(run_count), 0) AS runs, ifnull(sum(run_count - ok_count), 0) AS not_ok,
        ifnull(sum(unsupported_count), 0) AS unsupported, count(*) AS configurations
    FROM series_summary) AS counted
