-- migrate: after

-- Push to customers: the money came back. This file locks only refunds: a migration that locks two tables of the money can
-- deadlock with a confirmation.
CREATE TRIGGER refunds_done_push AFTER UPDATE ON refunds FOR EACH ROW
    WHEN (NEW.status = 'done' AND OLD.status <> 'done') EXECUTE FUNCTION refund_to_push();
