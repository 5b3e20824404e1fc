SELECT status, validity, count(*) AS runs, count(DISTINCT configuration_id) AS configurations,
    count(DISTINCT model) AS models
FROM selected
GROUP BY status, validity
ORDER BY runs DESC, status, validity
