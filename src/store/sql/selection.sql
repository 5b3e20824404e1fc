-- Which runs a selection means; ends a statement that joins run, configuration, model, device, environment and campaign.
-- A NULL parameter selects all; lists come as JSON arrays, parameters of the work as a JSON object. Further conditions
-- follow in `selected_runs.sql`, `selected_configurations.sql` and `selected_environments.sql`.
WHERE (:runs IS NULL OR run.uuid IN (SELECT value FROM json_each(:runs))
        OR CAST(run.id AS TEXT) IN (SELECT value FROM json_each(:runs)))
    AND (:campaign IS NULL OR campaign.uuid = :campaign)
    AND (:label IS NULL OR campaign.label = :label)
