-- migrate: after

-- Push to customers: the fallback is offered. This file locks only pairings: a migration that locks two tables of the money can
-- deadlock with a confirmation.
CREATE TRIGGER pairings_fallback_push AFTER UPDATE ON pairings FOR EACH ROW
    WHEN (NEW.fallback_status = 'open' AND OLD.fallback_status IS DISTINCT FROM 'open')
    EXECUTE FUNCTION fallback_to_push();
