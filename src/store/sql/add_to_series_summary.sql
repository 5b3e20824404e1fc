-- Adds what was counted of one configuration to its summary, as the trigger `run_inserted` does for one run.
INSERT INTO series_summary (configuration_id, run_count, ok_count, valid_count, unsupported_count,
    newest_valid_run_id, newest_valid_started_at)
VALUES (:configuration_id, :run_count, :ok_count, :valid_count, :unsupported_count, :newest_id, :newest_started_at)
ON CONFLICT (configuration_id) DO UPDATE SET
    run_count = run_count + excluded.run_count,
    ok_count = ok_count + excluded.ok_count,
    valid_count = valid_count + excluded.valid_count,
    unsupported_count = unsupported_count + excluded.unsupported_count,
    (newest_valid_run_id, newest_valid_started_at) = (
        SELECT run.id, run.started_at FROM run
        WHERE run.id IN (newest_valid_run_id, excluded.newest_valid_run_id)
        ORDER BY run.started_at DESC, run.id DESC
        LIMIT 1)
