-- Which sets of runs have a name?
SELECT baseline.name, baseline.created_at, baseline.note, count(run.id) AS runs,
    count(DISTINCT run.configuration_id) AS configurations
FROM baseline
    LEFT JOIN baseline_run ON baseline_run.baseline_id = baseline.id
    LEFT JOIN run ON run.id = baseline_run.run_id
GROUP BY baseline.id
ORDER BY baseline.created_at DESC, baseline.id DESC
