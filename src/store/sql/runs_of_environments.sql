-- Ids of the runs of a few environments, from the index on them. `page_of_runs.sql` follows.
SELECT run.id
FROM json_each(:environments) AS wanted
    CROSS JOIN run ON run.environment_id = wanted.value
