-- migrate: after

-- Push to customers: the search failed. This file locks only payments: a migration that locks two tables of the money can
-- deadlock with a confirmation.
CREATE TRIGGER payments_unserved_push AFTER UPDATE ON payments FOR EACH ROW
    WHEN (NEW.status = 'unserved' AND OLD.status <> 'unserved') EXECUTE FUNCTION unserved_payment_to_push();
