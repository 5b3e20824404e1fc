-- Ids of the runs of a few campaigns, from the index on them. `page_of_runs.sql` follows.
SELECT run.id
FROM json_each(:campaigns) AS wanted
    CROSS JOIN run ON run.campaign_id = wanted.value
