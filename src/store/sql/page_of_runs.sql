-- Which runs a selection means that was narrowed down to ids before, so that nothing is joined; of them, those between
-- two ids. What each condition means stands in `selection.sql`.
WHERE run.id < :before AND run.id > :after
    AND (:ids IS NULL OR run.id IN (SELECT value FROM json_each(:ids)))
    AND (:configurations IS NULL OR run.configuration_id IN (SELECT value FROM json_each(:configurations)))
    AND (:environments IS NULL OR run.environment_id IN (SELECT value FROM json_each(:environments)))
    AND (:campaigns IS NULL OR run.campaign_id IN (SELECT value FROM json_each(:campaigns)))
    AND (:statuses IS NULL OR run.status IN (SELECT value FROM json_each(:statuses)))
    AND (:since IS NULL OR run.started_at >= :since)
    AND (:until IS NULL OR run.started_at < :until)
    AND (:imports IS NULL OR run.import_batch_id IN (SELECT value FROM json_each(:imports)))
    AND (:baseline IS NULL OR run.id IN (
        SELECT baseline_run.run_id FROM baseline_run JOIN baseline ON baseline.id = baseline_run.baseline_id
        WHERE baseline.name = :baseline))
