-- Which environments does a selection mean, and how many runs has each? `selected_environments.sql` follows.
SELECT environment.id, environment_summary.run_count
FROM environment
    JOIN environment_summary ON environment_summary.environment_id = environment.id
WHERE TRUE
