SELECT run_id, started_at, validity, iterations, :columns,
    git_commit
FROM selected
ORDER BY started_at, run_id
