-- Removes what no run refers to any more.
DELETE FROM configuration
WHERE id IN (SELECT configuration_id FROM series_summary WHERE run_count = 0);
DELETE FROM environment
WHERE id IN (SELECT environment_id FROM environment_summary WHERE run_count = 0);
DELETE FROM artifact WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.artifact_id = artifact.id);
-- A planned run whose run was deleted on purpose is done, not open; a campaign goes with its last run.
DELETE FROM campaign WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.campaign_id = campaign.id)
    AND NOT EXISTS (SELECT 1 FROM planned_run WHERE planned_run.campaign_id = campaign.id AND planned_run.state <> 'done');
DELETE FROM device WHERE NOT EXISTS (SELECT 1 FROM configuration WHERE configuration.device_id = device.id)
    AND NOT EXISTS (SELECT 1 FROM device_probe WHERE device_probe.device_id = device.id);
DELETE FROM model WHERE NOT EXISTS (SELECT 1 FROM configuration WHERE configuration.model_id = model.id);
