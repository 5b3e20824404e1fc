-- Ids of runs, wherever they are. `page_of_runs.sql` follows.
SELECT run.id
FROM run
