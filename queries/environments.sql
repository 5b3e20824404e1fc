-- On which hosts, with which software, was anything measured? One row an environment.
SELECT environment.host, environment.os, environment.cpu_name, environment.cpu_governor, environment.driver_version,
    environment.engine_version, environment.tool_version, substr(environment.git_commit, 1, 10) AS git_commit,
    environment.git_dirty, count(*) AS runs, min(run.started_at) AS first_run, max(run.started_at) AS last_run
FROM run JOIN environment ON environment.id = run.environment_id
GROUP BY environment.id
ORDER BY last_run DESC
