-- Which runs a selection means that was narrowed down to ids before, so that nothing is joined; of them, those between
-- two ids. `selected_runs.sql` follows.
WHERE run.id < :before AND run.id > :after
    AND (:ids IS NULL OR run.id IN (SELECT value FROM json_each(:ids)))
    AND (:configurations IS NULL OR run.configuration_id IN (SELECT value FROM json_each(:configurations)))
    AND (:environments IS NULL OR run.environment_id IN (SELECT value FROM json_each(:environments)))
    AND (:campaigns IS NULL OR run.campaign_id IN (SELECT value FROM json_each(:campaigns)))
