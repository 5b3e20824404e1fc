-- Adds runs to the count of one environment, as the trigger `run_inserted` does for one run.
INSERT INTO environment_summary (environment_id, run_count) VALUES (?1, ?2)
ON CONFLICT (environment_id) DO UPDATE SET run_count = run_count + excluded.run_count
