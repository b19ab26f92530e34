/* Generated from contracts/ by `make contracts`. Do not edit. */

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * Appeal
         * @description The reader's appeal against a decision. `decision` is null until another operator has decided.
         */
        Appeal: {
            appealed_at: string;
            decision: ("overturned" | "upheld") | null;
            text: string | null;
        };
        /**
         * CustomerName
         * @description Everything that a mitra sees of a customer (X.4). This struct has no id and no phone number.
         */
        CustomerName: {
            call_name: string;
        };
        /**
         * Error
         * @description The server could not read the client's last frame. `detail` tells the client's developer why.
         */
        Error: {
            /** @enum {unknown} */
            code: "validation_failed";
            detail: string;
            /** @enum {unknown} */
            op: "error";
        };
        /**
         * Event
         * @description A change that concerns the user.
         *
         *         `data` is the changed object, with the fields that this user is allowed to see.
         */
        Event: {
            at: string;
            data: unknown;
            /** @enum {unknown} */
            op: "event";
            seq: number | null;
            type: ("extension.decided" | "extension.requested" | "message.created" | "messages.read" | "notice.created" | "pairing.updated" | "payment.updated" | "session.ended" | "session.started" | "session.updated") | ("presence.changed" | "request.closed" | "request.offered");
        };
        /**
         * Extension
         * @description A paid request to lengthen a chat. Both sides see the same struct.
         *
         *         The server charges the customer when the extension is approved. `decided_by` is null while the extension is
         *         pending. If the mitra has not answered by `deadline_at`, the server carries out `default_action` (5.5).
         *         `mitra_went_offline`: the mitra's toggle was off when the customer asked, or was switched off while the extension
         *         was pending. This flag distinguishes the two reasons of `mitra_unreachable`. It is false until the extension is
         *         decided, because the event of the decision tells it.
         */
        Extension: {
            deadline_at: string;
            decided_by: ("mitra" | "mitra_unreachable" | "session_ended" | "timeout") | null;
            /** @enum {unknown} */
            default_action: "auto_approve" | "auto_reject";
            /** Format: uuid */
            id: string;
            mitra_went_offline: boolean;
            offer: components["schemas"]["Offer"];
            /** Format: uuid */
            payment_id: string;
            server_now: string;
            /** Format: uuid */
            session_id: string;
            /** @enum {unknown} */
            status: "approved" | "charge_failed" | "charging" | "pending" | "rejected";
        };
        /**
         * Fallback
         * @description The offer to search for another bestie under the same payment, after a targeted pairing failed (3.5).
         *
         *         `status` is the state of this offer. `allowed` says whether the customer can still take or decline the fallback.
         *         `other_available` says whether another bestie could be asked when the server built this struct. The server checks
         *         the availability again when the customer takes the fallback.
         */
        Fallback: {
            allowed: boolean;
            answer_by: string;
            other_available: boolean;
            /** @enum {unknown} */
            status: "declined" | "expired" | "open" | "taken";
        };
        /**
         * Hello
         * @description The first frame of every connection. A hello names the device, and the last event that the device has applied.
         */
        Hello: {
            device_id: string;
            /** @default null */
            epoch: string | null;
            /** @enum {unknown} */
            op: "hello";
            /** @default null */
            seq: number | null;
        };
        /**
         * Message
         * @description One message. `read_at` is null until the other side has read the message.
         *
         *         `reply_to_message_id` is the earlier message of the same chat that the message answers.
         */
        Message: {
            client_message_id: string;
            /** Format: uuid */
            id: string;
            read_at: string | null;
            reply_to_message_id: string | null;
            /** @enum {unknown} */
            sender: "customer" | "mitra";
            sent_at: string;
            /** Format: uuid */
            session_id: string;
            text: string;
        };
        /**
         * MitraName
         * @description Everything that a customer sees of a mitra (X.4).
         */
        MitraName: {
            display_name: string;
            /** Format: uuid */
            id: string;
        };
        /**
         * MitraPresence
         * @description A mitra's own presence: the toggle, whether the mitra is connected, the number of sessions, the capacity.
         *
         *         `break_until` is the time at which the service reminds a mitra who takes a break. The break itself lasts until the
         *         mitra sets the toggle, so the time can be over. Without a break, `break_until` is null.
         */
        MitraPresence: {
            active_sessions: number;
            /** @default null */
            break_until: string | null;
            connected: boolean;
            max_customers: number;
            online: boolean;
        };
        /**
         * MitraSession
         * @description A chat as its mitra sees it. The mitra can read the text for a shorter time than the customer (P.7).
         */
        MitraSession: {
            customer: components["schemas"]["CustomerName"];
            duration_minutes: number;
            end_reason: ("customer_ended" | "mitra_ended" | "mitra_suspended" | "time_up") | null;
            ended_at: string | null;
            ends_at: string;
            extended_minutes: number;
            extension: components["schemas"]["Extension"] | null;
            /** Format: uuid */
            id: string;
            mitra: components["schemas"]["MitraName"];
            server_now: string;
            started_at: string;
            /** @enum {unknown} */
            status: "active" | "ended";
            text_gone: boolean;
            text_until: string | null;
        };
        /**
         * Notice
         * @description What one person is told about a decision. It never says who reported, or when.
         *
         *         `rule`: the rule that was broken, or the reason of the reader's own report. It is null if there was no report.
         *         `session_id`: the chat of the reader's own report; null in every other notice. `suspended_until`: null means for
         *         good, in a notice of the kind `suspension`. `must_acknowledge`: the reader must acknowledge the notice before the
         *         next payment, or before going online. `appeal_by`: until when the reader can appeal; null if no appeal is possible.
         */
        Notice: {
            acknowledged_at: string | null;
            appeal: components["schemas"]["Appeal"] | null;
            appeal_by: string | null;
            created_at: string;
            /** Format: uuid */
            id: string;
            /** @enum {unknown} */
            kind: "appeal_overturned" | "appeal_upheld" | "report_acted" | "report_no_violation" | "suspension" | "suspension_lifted" | "warning";
            must_acknowledge: boolean;
            rule: ("contact" | "danger" | "insult" | "minor" | "money" | "not_listening" | "other" | "sexual" | "threat") | null;
            server_now: string;
            session_id: string | null;
            suspended_until: string | null;
        };
        /**
         * Offer
         * @description A duration and its price in whole rupiah. The trial has the price Rp0.
         */
        Offer: {
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            price_rp: number;
        };
        /**
         * Pairing
         * @description One attempt to find a mitra. A matched pairing has a `session_id`. A failed pairing has a `failure_tag`.
         *
         *         `anybody_asked` says whether the pairing has asked at least one mitra. The customer never sees how many (1.5).
         */
        Pairing: {
            anybody_asked: boolean;
            deadline_at: string;
            failure_tag: ("all_mitras_rejected" | "customer_cancelled" | "no_mitra_available" | "payment_session_expired" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout") | null;
            fallback: components["schemas"]["Fallback"] | null;
            /** Format: uuid */
            id: string;
            /** @enum {unknown} */
            kind: "blast" | "targeted";
            /** Format: uuid */
            payment_id: string;
            server_now: string;
            session_id: string | null;
            /** @enum {unknown} */
            status: "failed" | "matched" | "open";
        };
        /**
         * Payment
         * @description A payment session as its customer sees it, with its latest pairing.
         */
        Payment: {
            amount_rp: number;
            created_at: string;
            expires_at: string;
            /** Format: uuid */
            id: string;
            offer: components["schemas"]["PaymentOffer"];
            pairing: components["schemas"]["Pairing"] | null;
            /** @enum {unknown} */
            purpose: "extension" | "session";
            server_now: string;
            /** @enum {unknown} */
            status: "abandoned" | "confirmed" | "confirming" | "expired" | "pending" | "refunded" | "served" | "unserved";
            target_mitra: components["schemas"]["TargetMitra"] | null;
        };
        /**
         * PaymentOffer
         * @description The offer's terms as they were when the payment was opened.
         */
        PaymentOffer: {
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            price_rp: number;
        };
        /**
         * Ping
         * @description Asks for a pong. `seq` is the stream's last event.
         *
         *         A client that has not applied this event says hello again.
         */
        Ping: {
            /** @enum {unknown} */
            op: "ping";
            seq: number;
            server_now: string;
        };
        /**
         * Pong
         * @description The answer to a ping. Like every client frame, a pong renews the user's lease. A pong has no other effect.
         */
        Pong: {
            /** @enum {unknown} */
            op: "pong";
        };
        /**
         * ReadMark
         * @description `reader` has read the messages of the other side, up to the message `up_to_message_id`.
         */
        ReadMark: {
            read_at: string;
            /** @enum {unknown} */
            reader: "customer" | "mitra";
            /** Format: uuid */
            session_id: string;
            /** Format: uuid */
            up_to_message_id: string;
        };
        /**
         * Refused
         * @description The message is not stored. `code` and `detail` have the same values as after a refused POST.
         *
         *         After `service_unavailable`, it is not known whether the message is stored. So the client repeats the frame.
         */
        Refused: {
            client_message_id: string;
            code: string;
            detail: string;
            /** @enum {unknown} */
            op: "refused";
            /** @default null */
            retry_after_seconds: number | null;
        };
        /**
         * Request
         * @description A mitra's card. Only the call name identifies the customer (X.4). A closed request has a `close_reason`.
         *
         *         `is_trial` says that the customer asks for the free trial. The card never has an amount.
         */
        Request: {
            call_name: string;
            close_reason: ("accepted" | "already_taken" | "at_capacity" | "customer_cancelled" | "rejected" | "suspended" | "timed_out" | "went_offline") | null;
            deadline_at: string;
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            is_returning: boolean;
            is_trial: boolean;
            /** @enum {unknown} */
            kind: "blast" | "targeted";
            server_now: string;
        };
        /**
         * SendMessage
         * @description Sends a chat message. The server answers with `sent` or `refused`, perhaps after answers to later frames.
         *
         *         The client can repeat the frame, even on another connection or by POST. The server stores the message once.
         */
        SendMessage: {
            client_message_id: string;
            /** @enum {unknown} */
            op: "send";
            /** @default null */
            reply_to_message_id: string | null;
            /** Format: uuid */
            session_id: string;
            text: string;
        };
        /**
         * Sent
         * @description The message is stored. The sender's devices, including this connection, also get the event `message.created`.
         */
        Sent: {
            client_message_id: string;
            message: components["schemas"]["Message"];
            /** @enum {unknown} */
            op: "sent";
        };
        /**
         * Session
         * @description A chat as its customer sees it.
         *
         *         `ended_at` and `end_reason` are null until the chat has ended. `extension` is the latest extension, in any status.
         *         `duration_minutes` is the duration that the customer first paid for, without extensions. `extended_minutes` is the
         *         sum of the approved extensions.
         *         `mitra_connected` is false while the mitra of a running chat has been disconnected for more than 6 s. From
         *         `review_possible_at` on, the customer can end the chat with a review. It is null while the mitra is connected.
         *         `review_reason` says why operators review what the chat cost. It is null if nothing is reviewed because of its end.
         *         The reader can read the text of an ended chat until `text_until` (P.7). If `text_gone` is true, the text is gone.
         */
        Session: {
            duration_minutes: number;
            end_reason: ("customer_ended" | "mitra_ended" | "mitra_suspended" | "time_up") | null;
            ended_at: string | null;
            ends_at: string;
            extended_minutes: number;
            extension: components["schemas"]["Extension"] | null;
            /** Format: uuid */
            id: string;
            mitra: components["schemas"]["MitraName"];
            mitra_connected: boolean;
            /** Format: uuid */
            payment_id: string;
            review_possible_at: string | null;
            review_reason: ("cut_short" | "mitra_away" | "unanswered") | null;
            server_now: string;
            started_at: string;
            /** @enum {unknown} */
            status: "active" | "ended";
            text_gone: boolean;
            text_until: string | null;
        };
        /**
         * TargetMitra
         * @description The mitra whom a customer chose from the history. The customer sees only the display name (X.4).
         */
        TargetMitra: {
            display_name: string;
            /** Format: uuid */
            id: string;
        };
        /**
         * TypingSignal
         * @description A member of this session is typing. Client and server both send this frame.
         *
         *         The server sends at most one typing signal per 2 s.
         */
        TypingSignal: {
            /** @enum {unknown} */
            op: "signal";
            /** Format: uuid */
            session_id: string;
            /** @enum {unknown} */
            type: "typing";
        };
        /**
         * Welcome
         * @description The answer to a hello. A mitra's welcome also contains `requests`: the open requests.
         */
        Welcome: {
            /** Format: uuid */
            epoch: string;
            /** @enum {unknown} */
            op: "welcome";
            resumed: boolean;
            seq: number;
            server_now: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;

export type Schemas = components['schemas'];

/** The data of each type of event that a customer gets. */
export interface CustomerEvents {
  'extension.decided': Schemas['Extension'];
  'extension.requested': Schemas['Extension'];
  'message.created': Schemas['Message'];
  'messages.read': Schemas['ReadMark'];
  'notice.created': Schemas['Notice'];
  'pairing.updated': Schemas['Pairing'];
  'payment.updated': Schemas['Payment'];
  'session.ended': Schemas['Session'];
  'session.started': Schemas['Session'];
  'session.updated': Schemas['Session'];
}

/** The data of each type of event that a mitra gets. */
export interface MitraEvents {
  'extension.decided': Schemas['Extension'];
  'extension.requested': Schemas['Extension'];
  'message.created': Schemas['Message'];
  'messages.read': Schemas['ReadMark'];
  'notice.created': Schemas['Notice'];
  'presence.changed': Schemas['MitraPresence'];
  'request.closed': Schemas['Request'];
  'request.offered': Schemas['Request'];
  'session.ended': Schemas['MitraSession'];
  'session.started': Schemas['MitraSession'];
  'session.updated': Schemas['MitraSession'];
}
