SELECT status, validity, ifnull(error, ifnull(hint, '')) AS reason, count(*) AS runs,
    count(DISTINCT configuration_id) AS configurations,
    count(DISTINCT model) AS models, min(model) AS for_example, max(run_id) AS newest_run
FROM selected
WHERE validity <> 'valid'
GROUP BY status, validity, reason
ORDER BY runs DESC, status, validity, reason
