-- On which hosts, with which software, was anything measured? One row an environment.
SELECT environment.host, environment.os, environment.cpu_name, environment.cpu_governor, environment.driver_version,
    environment.engine_version, environment.tool_version, substr(environment.git_commit, 1, 10) AS git_commit,
    environment.git_dirty, environment_summary.run_count AS runs,
    (SELECT min(started_at) FROM run WHERE run.environment_id = environment.id) AS first_run,
    (SELECT max(started_at) FROM run WHERE run.environment_id = environment.id) AS last_run
FROM environment JOIN environment_summary ON environment_summary.environment_id = environment.id
WHERE environment_summary.run_count > 0
ORDER BY last_run DESC, environment.id DESC
