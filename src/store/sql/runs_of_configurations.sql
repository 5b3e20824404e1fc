-- Ids of the runs of a few configurations, from the index on them. `page_of_runs.sql` follows.
SELECT run.id
FROM json_each(:configurations) AS wanted
    CROSS JOIN run ON run.configuration_id = wanted.value
