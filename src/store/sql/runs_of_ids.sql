-- Ids of runs that are known by their ids. `page_of_runs.sql` follows.
SELECT run.id
FROM json_each(:ids) AS wanted
    CROSS JOIN run ON run.id = wanted.value
