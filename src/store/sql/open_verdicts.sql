-- Which changes has nobody accepted yet? All, or with ?1 those of the newest judging; with ?2 (a JSON array of runs)
-- whatever was concluded from these runs on.
SELECT verdict.id, model.name AS model, verdict.metric, verdict.verdict, verdict.effect, verdict.first_candidate_run,
    device.name || ', ' || configuration.engine || ', ' || configuration.precision || ', ' || configuration.mode
        || ', batch ' || configuration.batch_size AS configuration
FROM verdict
    JOIN configuration ON configuration.id = verdict.configuration_id
    JOIN model ON model.id = configuration.model_id
    JOIN device ON device.id = configuration.device_id
WHERE verdict.accepted_at IS NULL AND verdict.first_candidate_run IS NOT NULL
    AND (?2 IS NULL AND verdict.verdict IN ('regressed', 'suspect', 'improved')
        OR verdict.first_candidate_run IN (SELECT value FROM json_each(?2)))
    AND (NOT ?1 OR verdict.judged_at = (SELECT max(judged_at) FROM verdict))
    AND NOT EXISTS (
        SELECT 1 FROM verdict AS newer
        WHERE newer.configuration_id = verdict.configuration_id AND newer.metric = verdict.metric
            AND newer.first_candidate_run = verdict.first_candidate_run
            AND newer.judged_at > verdict.judged_at)
ORDER BY verdict.judged_at DESC, verdict.id
