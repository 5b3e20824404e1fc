-- Which runs are meant by these ids and UUIDs? An id is written as SQLite writes it.
SELECT run.id FROM json_each(:runs) AS wanted JOIN run ON run.uuid = wanted.value
UNION
SELECT run.id FROM json_each(:runs) AS wanted JOIN run ON run.id = CAST(wanted.value AS INTEGER)
WHERE CAST(run.id AS TEXT) = wanted.value
