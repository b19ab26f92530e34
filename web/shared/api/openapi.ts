/* Generated from contracts/ by `make contracts`. Do not edit. */

export interface paths {
    "/api/client/acceptances": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * AcceptTextAsCustomer
         * @description Accept the newest version of one text (P.1). Repeating it changes nothing.
         *
         *     With the terms, `birth_year` can be sent. The answer to the year of a minor is 403 `adults_only`. Otherwise the
         *     server keeps only that the person is an adult (P.2).
         */
        post: operations["accept_text_as_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/auth/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * SignOutCustomer
         * @description Revoke the token, and close its sockets.
         */
        post: operations["sign_out_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/auth/otp/request": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RequestCustomerCode
         * @description Send a one-time code to a phone. The answer does not tell whether the number is known.
         */
        post: operations["request_customer_code"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/auth/otp/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * VerifyCustomerCode
         * @description Sign in with the code. The first sign-in needs a `call_name`. If the name is missing, the code stays valid.
         */
        post: operations["verify_customer_code"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/blocks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListBlockedMitras
         * @description Return the besties whom the customer has blocked, newest first.
         */
        get: operations["list_blocked_mitras"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/devices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListCustomerDevices
         * @description The devices on which the customer is signed in, the most recently seen first.
         */
        get: operations["list_customer_devices"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/devices/{device_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * RevokeCustomerDevice
         * @description Sign out one device. The server revokes the device's token and closes its sockets.
         */
        delete: operations["revoke_customer_device"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/devices/sign-out-others": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RevokeOtherCustomerDevices
         * @description Sign out every device of the customer except the device of this request.
         */
        post: operations["revoke_other_customer_devices"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetProfile
         * @description Return the customer's own profile.
         */
        get: operations["get_customer_profile"];
        put?: never;
        post?: never;
        /**
         * DeleteCustomer
         * @description Delete the customer's account (P.3). Nobody can read the name, the number or a chat any more.
         *
         *     The texts are destroyed within 72 hours. Payments stay for accounting, without a name. Refused while a payment is
         *     open or a session runs.
         */
        delete: operations["delete_customer"];
        options?: never;
        head?: never;
        /**
         * ChangeProfile
         * @description Change the customer's call name. A mitra learns nothing else that identifies the customer (X.4).
         */
        patch: operations["change_customer_profile"];
        trace?: never;
    };
    "/api/client/me/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ExportCustomer
         * @description Send all data of the customer, as JSON or as a page to read and print. Three a day.
         *
         *     The header `X-Fresh-Code: <request_id>:<code>` has a new one-time code. `language` and `zone` are those of the page.
         *     The answer breaks off if the customer signs out meanwhile. A complete JSON ends with `complete`.
         */
        get: operations["export_customer_data"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/mitra-availability": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetMitraAvailability
         * @description Whether any mitra is available (1.2). If presence is unknown, the answer is no (1.6). Needs no sign-in.
         *
         *     In the running service, `availability_poll.py` answers this request before the framework.
         */
        get: operations["get_mitra_availability"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/mitras/{mitra_id}/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetMitraStatus
         * @description Return the status of a past chat's bestie. The client asks when the customer taps "Curhat lagi" (3.3, 3.4).
         */
        get: operations["get_mitra_status"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/notices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListNoticesOfCustomer
         * @description Return what the customer is told about decisions, newest first (T.4).
         */
        get: operations["list_notices_of_customer"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/notices/{notice_id}/acknowledge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * AcknowledgeNoticeOfCustomer
         * @description Note that the customer has read the notice. A repeated request changes nothing.
         */
        post: operations["acknowledge_notice_of_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/notices/{notice_id}/appeal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * AppealOfCustomer
         * @description Appeal once, within 14 days, against a warning or suspension. Another operator decides the appeal.
         */
        post: operations["appeal_of_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/pairings/{pairing_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetPairing
         * @description Return one of the customer's pairings. A pairing is one attempt to find a mitra.
         */
        get: operations["get_pairing"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/pairings/{pairing_id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * CancelPairing
         * @description Stop the search. The pairing fails with the tag `customer_cancelled`, and an operator reviews the payment.
         */
        post: operations["cancel_pairing"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/pairings/{pairing_id}/decline-fallback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * DeclineFallback
         * @description Decline the fallback. The journey ends, and an operator reviews the payment (3.8).
         */
        post: operations["decline_fallback"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/pairings/{pairing_id}/fallback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * TakeFallback
         * @description Take the fallback: begin a blast under the same payment. The customer is not charged again (3.5).
         */
        post: operations["take_fallback"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/payments": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListPayments
         * @description Return every payment of the customer, newest first, with what became of it (X.12).
         *
         *     With `session_id`, return only the payments of this session and of its extensions. With `news`, return only what the
         *     home screen notes: paid money under review, and a failed search, a decision or a refund that the customer has not
         *     seen. News is one page, and `news` goes without the other parameters.
         */
        get: operations["list_payments"];
        put?: never;
        /**
         * OpenPayment
         * @description Open a payment session for an offer, if a mitra is available at this moment (1, 2a).
         *
         *     If the customer chose the mitra of a past chat, only the status of that mitra counts (3.6). A customer who has not
         *     accepted the newest texts gets 409 `acceptance_needed` (P.1).
         */
        post: operations["open_payment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/payments/{payment_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetPayment
         * @description Return one of the customer's payments, with the payment's latest pairing and what became of the payment.
         */
        get: operations["get_payment"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/payments/{payment_id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * CancelPayment
         * @description Cancel a payment permanently: pending → abandoned. The payment's row stays (2a.4).
         */
        post: operations["cancel_payment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/payments/{payment_id}/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ConfirmPayment
         * @description Confirm a payment and charge it. The transaction that confirms the payment also begins the search.
         *
         *     If the search could ask nobody, nothing is charged, and the payment stays pending (1.8).
         *     If the gateway's answer is not known within 5 s, the HTTP status is 202, and an event reports the outcome later.
         *     The server calls the gateway between two transactions. If the process dies at any point, a deadline finishes the
         *     charge.
         */
        post: operations["confirm_payment"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/payments/{payment_id}/seen": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * MarkPaymentSeen
         * @description Note that the customer has seen what became of this payment. The home screens of all devices stop noting it.
         */
        post: operations["mark_payment_seen"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/pricing": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListOffers
         * @description Return the current offers for a session or an extension.
         *
         *     If this customer can have the trial, the trial is in the list.
         */
        get: operations["list_offers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/push-key": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetCustomerPushKey
         * @description Return the `applicationServerKey` to subscribe with.
         */
        get: operations["get_customer_push_key"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/push-subscriptions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * SubscribeCustomerToPush
         * @description While the app is closed, send pushes to this browser or app: a bestie accepted or wrote, a search failed, the
         *     chosen bestie did not accept, money came back.
         *
         *     The subscription ends with the sign-in. Repeat the request when the app starts, to repair a failed subscription.
         */
        put: operations["subscribe_customer_to_push"];
        post?: never;
        /**
         * UnsubscribeCustomerFromPush
         * @description End push to this browser or app. Repeating the request changes nothing.
         */
        delete: operations["unsubscribe_customer_from_push"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/realtime-ticket": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * IssueCustomerRealtimeTicket
         * @description Issue a ticket for a customer's socket, for clients that cannot set a header.
         *
         *     The ticket can be used once, within 30 s.
         */
        post: operations["issue_customer_realtime_ticket"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/reports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListReportsOfCustomer
         * @description Return the reports that the customer has made, newest first.
         */
        get: operations["list_reports_of_customer"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListCustomerSessions
         * @description Return the customer's chats, newest first.
         */
        get: operations["list_customer_sessions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetCustomerSession
         * @description Return one of the customer's chats.
         */
        get: operations["get_customer_session"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}/block": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * BlockMitra
         * @description Block the bestie of a past chat: the two are never paired again. A repeated request changes nothing.
         *
         *     The bestie is told nothing.
         */
        post: operations["block_mitra"];
        /**
         * UnblockMitra
         * @description Undo the customer's own block of the bestie of a past chat. A repeated request changes nothing.
         */
        delete: operations["unblock_mitra"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}/end": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * EndSessionByCustomer
         * @description End the chat before its time. With `review`, because the mitra is away, an operator reviews the cost (X.11).
         */
        post: operations["end_session_by_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}/extensions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RequestExtension
         * @description Ask for an extension, on the current terms (5.4). The server charges nothing before the approval.
         *
         *     If the mitra is not connected, the extension is rejected immediately (5.6). The running session of a suspended
         *     customer goes on, but gets no more time (T.3).
         */
        post: operations["request_extension"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}/leave": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * LeaveSessionByCustomer
         * @description Leave the chat: end it, and report and block the bestie if wanted, in one step.
         *
         *     The chat ends even if the report or the block is refused: `not_stored` names the refused part. A chat that is over
         *     already is answered as it ended, and the report and the block are stored.
         */
        post: operations["leave_session_by_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListCustomerMessages
         * @description Return a page of a chat's messages, newest first. With `before`, the page begins before that message.
         */
        get: operations["list_customer_messages"];
        put?: never;
        /**
         * SendCustomerMessage
         * @description Send a message. If `client_message_id` was used before, return the first message, even after the chat's end.
         */
        post: operations["send_customer_message"];
        /**
         * DeleteChatText
         * @description Delete the text of an ended chat. Both sides lose it at once, and it is destroyed within 72 hours (P.7).
         *
         *     The row of the history and "Curhat lagi" stay. If a report needs the text, operators keep it until 90 days after the
         *     decision.
         */
        delete: operations["delete_chat_text"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}/rating": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetSessionRating
         * @description Return the customer's own rating of a chat, and whether the chat can be rated now.
         */
        get: operations["get_session_rating"];
        put?: never;
        /**
         * RateSession
         * @description Say how a chat was, for 7 days after it. A later answer replaces the earlier one (T.6).
         */
        post: operations["rate_session"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}/read": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * MarkReadByCustomer
         * @description Mark the mitra's messages as read, up to `up_to_message_id`. A repeated request changes nothing.
         */
        post: operations["mark_read_by_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/sessions/{session_id}/report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ReportMitra
         * @description Report the mitra of a chat that runs or has ended (T.2). The mitra learns nothing before a decision.
         *
         *     The chat's text is held until 90 days after the decision.
         */
        post: operations["report_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/state": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetCustomerState
         * @description Return everything that a customer's client shows, and the stream position of this snapshot.
         */
        get: operations["get_customer_state"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/client/texts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListCustomerTexts
         * @description Return the newest version of each text that a customer accepts before paying (P.1).
         *
         *     Without `language`, the header Accept-Language decides. The default is Indonesian.
         */
        get: operations["list_customer_texts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/content/help-lines": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetHelpLines
         * @description Return the current help lines, to everybody. A client keeps the newest copy, and asks with its ETag.
         *
         *     404: nothing was published. The clients then show the list of their release.
         */
        get: operations["get_help_lines"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/content/service": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetServiceFacts
         * @description Return what a person wants to know before signing in: the prices, and how to reach the team.
         */
        get: operations["get_service_facts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/content/texts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListPublicTexts
         * @description Return the newest version of every text. Needs no sign-in.
         *
         *     Without `language`, the header Accept-Language decides. The default is Indonesian.
         */
        get: operations["list_public_texts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListAudit
         * @description Actions with old and new values, newest first. `actor`: an operator's id or e-mail, or `system`.
         */
        get: operations["list_audit"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/devices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListOperatorDevices
         * @description The devices on which the operator is signed in, the most recently seen first.
         */
        get: operations["list_operator_devices"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/devices/{device_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * RevokeOperatorDevice
         * @description Sign out one of the operator's devices. The sign-out takes effect immediately.
         */
        delete: operations["revoke_operator_device"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/links": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * UseOperatorLink
         * @description Choose a password with the secret of a one-time link. Then sign in with it, and set up the authenticator app.
         */
        post: operations["use_operator_link"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * SignInOperator
         * @description Sign in with e-mail, password and authenticator code. An unknown e-mail takes as long as a known e-mail.
         */
        post: operations["sign_in_operator"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * SignOutOperator
         * @description Revoke the token in this request.
         */
        post: operations["sign_out_operator"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetOperatorAccount
         * @description The operator's own account: identity, permissions and second factor.
         */
        get: operations["get_operator_account"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/password": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ChangeOperatorPassword
         * @description Change the password. The server signs out the operator's other devices.
         *
         *     Wrong passwords of other people never delay a password change.
         */
        post: operations["change_operator_password"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/recovery-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RenewRecoveryCodes
         * @description Replace the recovery codes with ten new codes.
         */
        post: operations["renew_recovery_codes"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/totp": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * BeginTotp
         * @description Begin to set up an authenticator app. The app's secret becomes valid when the operator confirms a code.
         */
        post: operations["begin_totp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/auth/totp/confirm": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ConfirmTotp
         * @description Prove that the app has the secret. After this proof, a sign-in needs the app's code.
         *
         *     The server signs out the operator's other devices.
         */
        post: operations["confirm_totp"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/configuration": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListConfiguration
         * @description All five rows.
         */
        get: operations["list_configuration"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/configuration/{key}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * ChangeConfiguration
         * @description Change one row. The server refuses the change if somebody else has changed the row since the operator read it.
         *
         *     The new value applies to everything that starts after the change.
         */
        put: operations["change_configuration"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/configuration/{key}/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListConfigurationHistory
         * @description The changes of this row, newest first. Each change names its author, the old value and the new value.
         */
        get: operations["list_configuration_history"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/customers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * SearchCustomers
         * @description Customers, newest or oldest first. `q`: an id, a phone number, or the beginning of a name.
         */
        get: operations["search_customers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/customers/{customer_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetCustomerRecord
         * @description One customer. To list the customer's payments or sessions, filter those lists by `customer_id`.
         */
        get: operations["get_customer_record"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/customers/{customer_id}/devices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListDevicesOfCustomer
         * @description The devices on which a customer is signed in, the most recently seen first.
         */
        get: operations["list_devices_of_customer"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/customers/{customer_id}/devices/{device_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * RevokeDeviceOfCustomer
         * @description Sign out one device of a customer. The server revokes the device's token and closes its sockets.
         */
        delete: operations["revoke_device_of_customer"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/customers/{customer_id}/devices/sign-out-others": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RevokeDevicesOfCustomer
         * @description Sign out every device of a customer. The operator who sends this request stays signed in.
         */
        post: operations["revoke_devices_of_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/customers/{customer_id}/suspension": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ChangeCustomerSuspension
         * @description Suspend a customer until a time, or lift a suspension. Only an admin suspends without an end (403).
         *
         *     A running session goes on. Opening and confirming payments are refused.
         */
        post: operations["change_customer_suspension"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/dashboard": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetDashboard
         * @description The current figures. A client can ask every few seconds.
         */
        get: operations["get_dashboard"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/dashboard/charts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetDashboardCharts
         * @description Counts per hour for 24 hours, and per day for 30 days, in WIB. A client asks at most once per minute.
         */
        get: operations["get_dashboard_charts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/failed-pairings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListFailedPairings
         * @description Failed attempts, newest first. The list includes the time `from`, and excludes the time `to`.
         */
        get: operations["list_failed_pairings"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/gateway": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetGatewayNotice
         * @description Return whether this server is in production and has a mock as its payment gateway.
         */
        get: operations["get_gateway_notice"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/help-lines": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListHelpLineVersions
         * @description The current version, the proposed version, and the newest versions.
         */
        get: operations["list_help_line_versions"];
        put?: never;
        /**
         * ProposeHelpLines
         * @description Propose a new list. Everybody sees it after another admin has published it.
         */
        post: operations["propose_help_lines"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/help-lines/{version}/approval": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * PublishHelpLines
         * @description Publish the newest proposal of another admin. From now on, everybody sees it.
         */
        post: operations["publish_help_lines"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/mitras": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * SearchMitras
         * @description Mitras, newest first, with presence, load and acceptance. `q`: an id, a phone number, or a name's beginning.
         */
        get: operations["search_mitras"];
        put?: never;
        /**
         * InviteMitra
         * @description Let the owner of a phone number sign in as a mitra. A mitra who is invited again stays unchanged.
         */
        post: operations["invite_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/mitras/{mitra_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetMitraRecord
         * @description One mitra. To list the mitra's sessions, filter the list of sessions by `mitra_id`.
         */
        get: operations["get_mitra_record"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * ChangeMitra
         * @description Rename a mitra, set its capacity, suspend it, or lift its suspension.
         *
         *     A suspension closes the mitra's sockets and requests.
         */
        patch: operations["change_mitra"];
        trace?: never;
    };
    "/api/control-center/mitras/{mitra_id}/devices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListDevicesOfMitra
         * @description The devices on which a mitra is signed in, the most recently seen first.
         */
        get: operations["list_devices_of_mitra"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/mitras/{mitra_id}/devices/{device_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * RevokeDeviceOfMitra
         * @description Sign out one device of a mitra. The server revokes the device's token and closes its sockets.
         */
        delete: operations["revoke_device_of_mitra"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/mitras/{mitra_id}/devices/sign-out-others": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RevokeDevicesOfMitra
         * @description Sign out every device of a mitra. The operator who sends this request stays signed in.
         */
        post: operations["revoke_devices_of_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/mitras/{mitra_id}/requests": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListMitraRequests
         * @description The requests that a mitra got, newest first, with outcome and answer time.
         */
        get: operations["list_mitra_requests"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/mitras/answers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListMitraAnswers
         * @description How each mitra answered in a period of at most 31 days, by default the last 7 days, in the order of `sort`.
         */
        get: operations["list_mitra_answers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/operators": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListOperators
         * @description All operators, with role, state and devices.
         */
        get: operations["list_operators"];
        put?: never;
        /**
         * InviteOperator
         * @description Invite an operator. The admin hands the link of the answer over; the service sends no mail.
         */
        post: operations["invite_operator"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/operators/{operator_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * ChangeOperator
         * @description Change an operator's role, deactivate the operator, or activate the operator again.
         */
        patch: operations["change_operator"];
        trace?: never;
    };
    "/api/control-center/operators/{operator_id}/reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ResetOperator
         * @description Take password and authenticator app from an operator, and make a one-time link for new ones.
         *
         *     An operator who has not used the last link gets a new link, and the last link stops working.
         */
        post: operations["reset_operator"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/operators/{operator_id}/sign-out": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * SignOutOtherOperator
         * @description Sign an operator out on every device.
         */
        post: operations["sign_out_other_operator"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/payments": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * SearchPayments
         * @description Payments, newest or oldest first.
         *
         *     `q`: the id of a payment, customer, session or case; a phone number; or the beginning of a customer's name.
         */
        get: operations["search_payments"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/payments/{payment_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetPaymentRecord
         * @description One payment with its whole timeline.
         */
        get: operations["get_payment_record"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/payments/{payment_id}/case": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * OpenReviewCase
         * @description Open a case by hand about whatever was taken for a payment and not given back, also if it was delivered.
         *
         *     A decided case opens again, as a new round. If the case is open already, the answer is 409 `case_open` with its id.
         */
        post: operations["open_review_case"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/payments/totals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * TotalPayments
         * @description How many payments the filters find, and their rupiah. The filters are those of the list of payments.
         */
        get: operations["total_payments"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/reports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListReports
         * @description The queue of reports and concerns: the most urgent that wait for an operator first, then the finished ones.
         *
         *     The list has no chat text and no note. `from` and `to` limit the time of the report.
         */
        get: operations["list_reports"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/reports/{report_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetReport
         * @description One report with its note, and the marked messages with five on either side. Each look has an audit entry.
         */
        get: operations["get_report"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/reports/{report_id}/appeal-decision": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * DecideAppeal
         * @description Decide an appeal, as another operator than the one who decided. An overturned sanction ends.
         */
        post: operations["decide_appeal"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/reports/{report_id}/approval": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ApproveSuspension
         * @description Approve a suspension for good, as another operator than the one who decided.
         *
         *     With `approved` false, the report is open again, and the decision has no effect.
         */
        post: operations["approve_suspension"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/reports/{report_id}/decision": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * DecideReport
         * @description Decide a report: no action, a warning, or a suspension. The first decision wins.
         *
         *     A suspension for good (without `until`) waits for another operator's approval. Refunds are decided on the case of
         *     the payment (`case_id`).
         */
        post: operations["decide_report"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/reports/{report_id}/phone": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RevealPhone
         * @description The customer's phone number, for a vital interest: only for a concern, danger or a minor (H.3).
         *
         *     The server does not keep the answer.
         *
         *     Each call needs a reason, which the audit records.
         */
        post: operations["reveal_phone"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/review-cases": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListReviewCases
         * @description Open cases, then decided cases; both sorted oldest first.
         *
         *     `from` and `to` limit the time at which a case opened.
         */
        get: operations["list_review_cases"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/review-cases/{case_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetReviewCase
         * @description A case with its payment and the timeline of the payment.
         */
        get: operations["get_review_case"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/review-cases/{case_id}/approval": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ApproveRefund
         * @description Approve a refund above the limit. The operator who decided on the refund is not allowed to approve the refund.
         *
         *     `expected_version` is the version of the case that the approver saw. If the case has another version by now, the
         *     answer is 409 `changed_meanwhile`.
         */
        post: operations["approve_refund"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/review-cases/{case_id}/decision": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * DecideReviewCase
         * @description Decide on a refund. The first decision wins. A refund above the limit waits for another operator's approval.
         *
         *     The decision covers every open case of the same session: the session's own and those of its extensions. A refund of
         *     a part (`amount_rp`) also decides about the rest.
         *     If the case does not have the `expected_version`, the answer is 409 `changed_meanwhile`, and nothing is decided.
         */
        post: operations["decide_review_case"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/review-cases/{case_id}/refund-retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RetryRefund
         * @description Repeat a refund that the gateway refused.
         */
        post: operations["retry_refund"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/review-cases/decisions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * DecideReviewCases
         * @description Make the same decision on many cases. Each case has its own transaction, so a refusal affects only one case.
         *
         *     If the sum of all refunds is above the limit, each of them waits for another operator's approval.
         */
        post: operations["decide_review_cases"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/review-cases/selection": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * SelectReviewCases
         * @description The open cases that match the filters of the list, with the sum that a refund of all of them gives back.
         *
         *     This is what a bulk decision covers: send the ids and versions to `POST /review-cases/decisions`.
         */
        get: operations["select_review_cases"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * SearchEverything
         * @description Find people, payments, sessions and cases by phone number, name, reference or id, at most 20.
         */
        get: operations["search_everything"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * SearchSessions
         * @description Chat sessions, newest or oldest first.
         *
         *     `q`: the id of a session, payment, customer or mitra; a phone number; or the beginning of a customer's name.
         */
        get: operations["search_sessions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/sessions/{session_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetSessionRecord
         * @description One chat session, without its messages.
         */
        get: operations["get_session_record"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/sessions/{session_id}/transcript": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RevealTranscript
         * @description The messages of the session. Each call needs a reason and a ground, which the audit records (P.8).
         *
         *     A report, concern or case of the session is taken as the ground, unless the operator names another. Without any, the
         *     answer is 409 `approval_needed` with the id of the request: once another operator has approved it, the asking
         *     operator can read the chat for 24 hours. The server does not keep the answer.
         */
        post: operations["reveal_transcript"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/sessions/totals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * TotalSessions
         * @description How many chat sessions the filters find, with minutes and rupiah. The filters are those of the list.
         */
        get: operations["total_sessions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/texts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListTexts
         * @description Every text that people accept, with its newest version and the number of people who have accepted it.
         */
        get: operations["list_texts"];
        put?: never;
        /**
         * PublishText
         * @description Publish a new version of a text in both languages. A published version can never be changed.
         *
         *     From now on, everybody who needs this text must accept the new version before the next payment, or before going
         *     online. The server refuses the publication if another version has become the newest one since `expected_version`.
         */
        post: operations["publish_text"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/texts/{kind}/versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListTextVersions
         * @description The versions of a text, newest first.
         */
        get: operations["list_text_versions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/texts/{kind}/versions/{version}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetTextVersion
         * @description One version of a text, in both languages.
         */
        get: operations["get_text_version"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/transcripts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListTranscriptRequests
         * @description The requests to read a chat that wait for another operator, and those approved within 24 hours.
         */
        get: operations["list_transcript_requests"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/transcripts/{transcript_id}/approval": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ApproveTranscript
         * @description Approve another operator's look at a chat. The asking operator can then read the chat for 24 hours.
         */
        post: operations["approve_transcript"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/what-if": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListWhatIfs
         * @description The newest what-ifs, with their answers.
         */
        get: operations["list_what_ifs"];
        put?: never;
        /**
         * AskWhatIf
         * @description Ask how a past period would have been with other settings or more mitras. A worker computes the answer.
         */
        post: operations["ask_what_if"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/control-center/what-if/{what_if_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetWhatIf
         * @description One what-if, with its progress, and with its answer once it is done.
         */
        get: operations["get_what_if"];
        put?: never;
        post?: never;
        /**
         * CancelWhatIf
         * @description Cancel a what-if that waits or runs.
         */
        delete: operations["cancel_what_if"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dev/gateway": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * SetGatewayBehaviour
         * @description Tell the mock gateway how to behave.
         */
        put: operations["set_gateway_behaviour"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dev/gateway/charges": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListGatewayCharges
         * @description Return the charges and refunds that the mock gateway itself recorded for a payment.
         */
        get: operations["list_gateway_charges"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/dev/inbox": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ReadDevelopmentInbox
         * @description The text messages that a real sender would have sent to this phone number, newest first.
         */
        get: operations["read_development_inbox"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/acceptances": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * AcceptTextAsMitra
         * @description Accept the newest version of one text (P.1). `birth_year` has the meaning that it has for a customer.
         */
        post: operations["accept_text_as_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/auth/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * SignOutMitra
         * @description Revoke the token, and close its sockets. A suspended mitra may do this, too.
         */
        post: operations["sign_out_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/auth/otp/request": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RequestMitraCode
         * @description Send a one-time code to a phone. The answer does not tell whether the number is invited.
         */
        post: operations["request_mitra_code"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/auth/otp/verify": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * VerifyMitraCode
         * @description Sign in with the code. A right code is used up, even if the mitra is suspended or was never invited.
         */
        post: operations["verify_mitra_code"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/blocks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListBlockedCustomers
         * @description Return the customers whom the mitra has blocked, newest first.
         */
        get: operations["list_blocked_customers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/break": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * TakeBreak
         * @description Go offline for a break, and be reminded at `break_until` (M.3). A repeated request begins the break again.
         *
         *     The break has the consequences of the toggle: requests are withdrawn, and extensions are rejected. It ends when the
         *     mitra sets the toggle. The answer 503 `presence_unknown` has the meaning that it has for the toggle.
         */
        put: operations["take_break"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/canned-answers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListCannedAnswers
         * @description Return the mitra's own short texts, in the mitra's order.
         */
        get: operations["list_canned_answers"];
        /**
         * ChangeCannedAnswers
         * @description Replace the whole list: at most 30 texts of at most 500 characters.
         *
         *     Send `expected_version` with the version that you read. If the list has changed meanwhile, nothing changes, and the
         *     error has the present list. A repeated request changes nothing.
         */
        put: operations["change_canned_answers"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/devices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListMitraDevices
         * @description The devices on which the mitra is signed in, the most recently seen first.
         */
        get: operations["list_mitra_devices"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/devices/{device_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * RevokeMitraDevice
         * @description Sign out one device. The server revokes the device's token and closes its sockets.
         */
        delete: operations["revoke_mitra_device"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/devices/sign-out-others": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RevokeOtherMitraDevices
         * @description Sign out every device of the mitra except the device of this request.
         */
        post: operations["revoke_other_mitra_devices"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/extensions/{extension_id}/accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * AcceptExtension
         * @description Approve an extension. The server charges the customer now (5.4).
         *
         *     If the gateway's answer is not known within 5 s, the extension has the status `charging`, and an event reports the
         *     outcome later. The server calls the gateway between two transactions. If the process dies at any point, a deadline
         *     finishes the charge.
         */
        post: operations["accept_extension"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/extensions/{extension_id}/reject": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RejectExtension
         * @description Reject an extension. The chat ends at its old time, and the server charges nothing (5.4).
         */
        post: operations["reject_extension"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetMitraProfile
         * @description Return the mitra's own name and presence. While presence is unknown, `connected` is false.
         */
        get: operations["get_mitra_profile"];
        put?: never;
        post?: never;
        /**
         * DeleteMitra
         * @description Delete the mitra's account (P.3). A suspended mitra may do this, too. Refused while a session runs.
         */
        delete: operations["delete_mitra"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/me/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ExportMitra
         * @description Send all data of the mitra, as JSON or as a page to read and print. Three a day.
         *
         *     The header `X-Fresh-Code: <request_id>:<code>` has a new one-time code. `language` and `zone` are those of the page.
         *     The answer breaks off if the mitra signs out meanwhile. A complete JSON ends with `complete`.
         *     A suspended mitra may do this, too.
         */
        get: operations["export_mitra_data"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/notices": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListNoticesOfMitra
         * @description Return what the mitra is told about decisions, newest first (T.4). A suspended mitra may do this, too.
         */
        get: operations["list_notices_of_mitra"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/notices/{notice_id}/acknowledge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * AcknowledgeNoticeOfMitra
         * @description Note that the mitra, who may be suspended, has read the notice. A repeated request changes nothing.
         */
        post: operations["acknowledge_notice_of_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/notices/{notice_id}/appeal": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * AppealOfMitra
         * @description Appeal once, within 14 days, against a warning or suspension. A suspended mitra may do this, too.
         */
        post: operations["appeal_of_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/presence": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * SetPresence
         * @description Go online or offline. The server answers after the mitra's availability shows the change.
         *
         *     A mitra who has not accepted the newest texts cannot go online: 409 `acceptance_needed` (P.1).
         *     A mitra with a warning must first acknowledge it (T.4): 409 `acknowledgement_needed`, with the notices' ids.
         *
         *     The answer 503 `presence_unknown` means that the toggle is saved and in force. For example, a mitra who is now
         *     offline cannot accept. The mitra's availability does not show the change yet, but will show the change even
         *     without another request. A client should repeat the request, which is safe.
         */
        put: operations["set_presence"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/push-key": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetMitraPushKey
         * @description Return the `applicationServerKey` to subscribe with.
         */
        get: operations["get_mitra_push_key"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/push-subscriptions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /**
         * SubscribeMitraToPush
         * @description While the app is closed, send pushes to this browser or app: requests, messages, extension requests.
         *
         *     After closing the app, the mitra stays available for another 15 minutes.
         *     The subscription ends with the sign-in. Repeat the request when the app starts, to repair a failed subscription.
         */
        put: operations["subscribe_mitra_to_push"];
        post?: never;
        /**
         * UnsubscribeMitraFromPush
         * @description End push to this browser or app. Repeating the request changes nothing.
         */
        delete: operations["unsubscribe_mitra_from_push"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/push-subscriptions/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * TestPush
         * @description Push a test notification to each of the mitra's devices, at most once in 10 s.
         *
         *     A test takes the same path as the push for an offered request. A test that arrives repairs a failed subscription.
         */
        post: operations["test_push"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/ratings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListRatingSums
         * @description Return sums of the ratings of the mitra's chats, by weeks of Asia/Jakarta, newest first (T.6).
         */
        get: operations["list_rating_sums"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/realtime-ticket": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * IssueMitraRealtimeTicket
         * @description Issue a ticket for a mitra's socket, for clients that cannot set a header.
         *
         *     The ticket can be used once, within 30 s.
         */
        post: operations["issue_mitra_realtime_ticket"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/reports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListReportsOfMitra
         * @description Return the reports that the mitra has made, newest first. A suspended mitra may do this, too.
         */
        get: operations["list_reports_of_mitra"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/requests": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListRequests
         * @description Return the requests that this mitra can accept now.
         */
        get: operations["list_requests"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/requests/{request_id}/accept": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * AcceptRequest
         * @description Accept a request. Only one mitra wins. If the winner accepts again, the answer is the same session (2b.5).
         */
        post: operations["accept_request"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/requests/{request_id}/reject": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RejectRequest
         * @description Reject a request. The service does not ask this mitra again for this pairing.
         */
        post: operations["reject_request"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/requests/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListPastRequests
         * @description Return the requests that this mitra got, newest first, with how each ended (M.1).
         */
        get: operations["list_past_requests"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListMitraSessions
         * @description Return the mitra's chats, newest first.
         */
        get: operations["list_mitra_sessions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetMitraSession
         * @description Return one of the mitra's chats.
         */
        get: operations["get_mitra_session"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}/block": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * BlockCustomer
         * @description Block the customer of a past chat: the two are never paired again. A repeated request changes nothing.
         *
         *     The customer is told nothing.
         */
        post: operations["block_customer"];
        /**
         * UnblockCustomer
         * @description Undo the mitra's own block of the customer of a past chat. A repeated request changes nothing.
         */
        delete: operations["unblock_customer"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}/concern": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * RaiseConcern
         * @description Tell the operators that the mitra worries about the customer (H.3). This is no emergency service.
         */
        post: operations["raise_concern"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}/end": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * EndSessionByMitra
         * @description End the chat before its time, with a reason. An operator reviews the chat (X.8).
         */
        post: operations["end_session_by_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}/leave": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * LeaveSessionByMitra
         * @description Leave the chat: end it, and report and block the customer if wanted, in one step. An operator reviews the chat.
         *
         *     The chat ends even if the report or the block is refused: `not_stored` names the refused part. A chat that is over
         *     already is answered as it ended, and the report and the block are stored.
         */
        post: operations["leave_session_by_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListMitraMessages
         * @description Return a page of a chat's messages, newest first. With `before`, the page begins before that message.
         */
        get: operations["list_mitra_messages"];
        put?: never;
        /**
         * SendMitraMessage
         * @description Send a message. If `client_message_id` was used before, return the first message, even after the chat's end.
         */
        post: operations["send_mitra_message"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}/note": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetCustomerNote
         * @description Return the mitra's private note about the customer of this session. All sessions of the two share the note.
         */
        get: operations["get_customer_note"];
        /**
         * ChangeCustomerNote
         * @description Write the private note about the customer of this session, at most 2,000 characters. Only this mitra reads it.
         *
         *     An empty text deletes the note. `expected_version` works as for the canned answers.
         */
        put: operations["change_customer_note"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}/read": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * MarkReadByMitra
         * @description Mark the customer's messages as read, up to `up_to_message_id`. A repeated request changes nothing.
         */
        post: operations["mark_read_by_mitra"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/sessions/{session_id}/report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * ReportCustomer
         * @description Report the customer of a chat that runs or has ended (T.2). The customer learns nothing before a decision.
         *
         *     The chat's text is held until 90 days after the decision.
         */
        post: operations["report_customer"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/state": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetMitraState
         * @description Return everything that a mitra's client shows, and the stream position of this snapshot.
         */
        get: operations["get_mitra_state"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/summary": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * GetWorkSummary
         * @description Return the mitra's work of today, this week and this month (M.1).
         *
         *     `zone` is the viewer's IANA time zone, such as Asia/Makassar. Without it, the days are those of Asia/Jakarta.
         */
        get: operations["get_work_summary"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/mitra/texts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * ListMitraTexts
         * @description Return the newest version of each text that a mitra accepts before going online (P.1).
         *
         *     Without `language`, the header Accept-Language decides. The default is Indonesian.
         */
        get: operations["list_mitra_texts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** AcceptanceSeconds */
        AcceptanceSeconds: {
            p50: number | null;
            p95: number | null;
        };
        /** AcceptedRequest */
        AcceptedRequest: {
            session: components["schemas"]["MitraSession"];
        };
        /** Device */
        accounts_schemas_Device: {
            /** Format: date-time */
            created_at: string;
            current: boolean;
            /** Format: uuid */
            id: string;
            /** Format: date-time */
            last_seen_at: string;
            user_agent: string;
        };
        /** Appeal */
        Appeal: {
            /** Format: date-time */
            appealed_at: string;
            /** @enum {null|string} */
            decision: "upheld" | "overturned" | null;
            text: string | null;
        };
        /** AppealVerdict */
        AppealVerdict: {
            /** @enum {string} */
            decision: "upheld" | "overturned";
            note: string;
        };
        /** AuditEntry */
        AuditEntry: {
            /** @enum {string} */
            action: "operator_signed_in" | "operator_created" | "operator_disabled" | "operator_reset" | "operator_invited" | "operator_link_used" | "operator_role_changed" | "operator_enabled" | "operator_signed_out" | "password_changed" | "totp_enrolled" | "recovery_code_used" | "recovery_codes_renewed" | "device_revoked" | "case_opened" | "case_decided" | "refund_approved" | "refund_retried" | "refund_requested:operator_decision" | "refund_requested:late_approval" | "refund_done" | "refund_failed" | "gateway_alert:unknown_charge" | "gateway_alert:unknown_refund" | "gateway_alert:refunded_twice" | "gateway_alert:refund_failed_after_done" | "gateway_alert:books_differ" | "configuration_changed" | "mitra_invited" | "mitra_renamed" | "mitra_capacity_changed" | "mitra_suspended" | "mitra_suspension_lifted" | "account_deleted" | "customer_suspended" | "customer_suspension_lifted" | "report_opened" | "report_decided" | "suspension_approved" | "suspension_refused" | "appeal_decided" | "phone_revealed" | "person_device_signed_out" | "person_devices_signed_out" | "transcript_revealed" | "transcript_requested" | "transcript_approved" | "list_exported" | "what_if_asked" | "text_published" | "help_lines_proposed" | "help_lines_published" | "what_if_cancelled" | "database_restored";
            actor: string;
            actor_email: string | null;
            id: number;
            new_value: string | null;
            /** Format: date-time */
            occurred_at: string;
            old_value: string | null;
            /** @enum {string} */
            subject: "operator" | "review_case" | "report" | "payment" | "configuration" | "customer" | "mitra" | "session" | "gateway" | "database" | "what_if" | "text" | "help_lines" | "failed-pairings" | "review-cases" | "payments" | "sessions" | "customers" | "mitras" | "mitra-requests" | "reports" | "audit";
            subject_id: string;
        };
        /** Availability */
        Availability: {
            available: boolean;
        };
        /** Block */
        Block: {
            /** Format: date-time */
            created_at: string;
            name: string;
            /** Format: uuid */
            session_id: string;
        };
        /** BlockList */
        BlockList: {
            items: components["schemas"]["Block"][];
        };
        /** BlocksOfPerson */
        BlocksOfPerson: {
            about: number;
            made: number;
        };
        /** BookDifference */
        BookDifference: {
            /** @enum {string} */
            about: "charge" | "refund";
            /** Format: date */
            day: string;
            /** Format: date-time */
            found_at: string;
            gateway_rp: number | null;
            gateway_status: string | null;
            /** Format: uuid */
            key: string;
            our_rp: number | null;
            our_status: string | null;
        };
        /** BothLanguages */
        BothLanguages: {
            en: string;
            id: string;
        };
        /** BreakOrder */
        BreakOrder: {
            /** @enum {integer} */
            minutes: 15 | 30 | 60;
        };
        /** Bucket */
        Bucket: {
            /** Format: date-time */
            began_at: string;
            confirmed: number;
            failed: number;
            finished: number;
            matched: number;
            opened: number;
        };
        /** CannedAnswers */
        CannedAnswers: {
            texts: string[];
            version: string;
        };
        /** CannedAnswersChange */
        CannedAnswersChange: {
            expected_version: string;
            texts: string[];
        };
        /** CaseRefund */
        CaseRefund: {
            amount_rp: number;
            answered_at: string | null;
            approved_at: string | null;
            approved_by: components["schemas"]["OperatorReference"] | null;
            reason: string | null;
            requested_at: string | null;
            /** @enum {string} */
            status: "awaiting_approval" | "requested" | "done" | "failed";
        };
        /** CaseSelection */
        CaseSelection: {
            count: number;
            has_more: boolean;
            items: components["schemas"]["SelectedCase"][];
            needs_approval: boolean;
            refundable_rp: number;
        };
        /** Charts */
        Charts: {
            days: components["schemas"]["Bucket"][];
            hours: components["schemas"]["Bucket"][];
            /** Format: date-time */
            server_now: string;
            week: components["schemas"]["WeekHour"][];
        };
        /** ClosedDay */
        ClosedDay: {
            broken_invariants: string[];
            charged_rp: number;
            charges: number;
            /** Format: date-time */
            closed_at: string;
            /** Format: date */
            day: string;
            differences: number;
            invariants_checked: number;
            refunded_rp: number;
            refunds: number;
        };
        /** CodeRequest */
        CodeRequest: {
            device_secret?: string | null;
            phone: string;
        };
        /** CodeRequested */
        CodeRequested: {
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            request_id: string;
            /** Format: date-time */
            resend_after: string;
            /** Format: date-time */
            server_now: string;
        };
        /** CodeVerification */
        CodeVerification: {
            call_name?: string | null;
            code: string;
            device_secret?: string | null;
            /** Format: uuid */
            request_id: string;
            /**
             * @default bearer
             * @enum {string}
             */
            transport: "bearer" | "cookie";
        };
        /** Concern */
        Concern: {
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            level: "worried" | "danger_now";
            /** Format: uuid */
            session_id: string;
        };
        /** ConfigurationChange */
        ConfigurationChange: {
            /** Format: date-time */
            changed_at: string;
            changed_by: string;
            /** @enum {string} */
            key: "pairing_blast_timeout_seconds" | "payment_session_timeout_minutes" | "returning_chat_confirmation_timeout_seconds" | "extension_timeout_seconds" | "extension_default_action_on_timeout";
            new_value: number | string;
            old_value: number | string;
        };
        /** ConfigurationOrder */
        ConfigurationOrder: {
            /** Format: date-time */
            expected_updated_at: string;
            value: number | string;
        };
        /** ConfigurationRow */
        ConfigurationRow: {
            choices: string[] | null;
            default: number | string;
            explanation: string;
            /** @enum {string} */
            key: "pairing_blast_timeout_seconds" | "payment_session_timeout_minutes" | "returning_chat_confirmation_timeout_seconds" | "extension_timeout_seconds" | "extension_default_action_on_timeout";
            label: string;
            maximum: number | null;
            minimum: number | null;
            /** @enum {string} */
            type: "integer" | "choice";
            unit: string;
            /** Format: date-time */
            updated_at: string;
            updated_by: string;
            value: number | string;
        };
        /** Confirmation */
        Confirmation: {
            pairing?: components["schemas"]["Pairing"] | null;
            payment: components["schemas"]["Payment"];
        };
        /** Acceptance */
        content_texts_schemas_Acceptance: {
            birth_year?: number | null;
            /** @enum {string} */
            kind: "terms" | "privacy" | "health_data" | "code_of_conduct";
            version: number;
        };
        /** Device */
        control_center_operators_schemas_Device: {
            address: string;
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            id: string;
            is_current: boolean;
            /** Format: date-time */
            last_seen_at: string;
            /** @enum {string} */
            transport: "bearer" | "cookie";
            user_agent: string;
        };
        /** Acceptance */
        control_center_records_schemas_Acceptance: {
            accepted: number;
            asked: number;
            rejected: number;
            seconds_p50: number | null;
            unanswered: number;
        };
        /** CurrentText */
        CurrentText: {
            accepted: number;
            current: components["schemas"]["TextVersion"] | null;
            /** @enum {string} */
            kind: "terms" | "privacy" | "health_data" | "code_of_conduct";
        };
        /** CurrentTexts */
        CurrentTexts: {
            items: components["schemas"]["CurrentText"][];
        };
        /** CustomerDetail */
        CustomerDetail: {
            blocks: components["schemas"]["BlocksOfPerson"];
            call_name: string;
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            id: string;
            last_payment_at: string | null;
            open_cases: number;
            paid_rp: number;
            payments: number;
            phone_masked: string;
            ratings: components["schemas"]["RatingCounts"];
            reports: components["schemas"]["ReportsOfPerson"];
            sessions: number;
            suspended: boolean;
            suspended_at: string | null;
            suspended_until: string | null;
            suspension_reason: string | null;
        };
        /** CustomerName */
        CustomerName: {
            call_name: string;
        };
        /** CustomerNote */
        CustomerNote: {
            text: string;
            updated_at: string | null;
            version: string;
        };
        /** CustomerNoteChange */
        CustomerNoteChange: {
            expected_version: string;
            text: string;
        };
        /** CustomerPayment */
        CustomerPayment: {
            amount_rp: number;
            charged_rp: number;
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            id: string;
            is_news: boolean;
            offer: components["schemas"]["PaymentOffer"];
            pairing: components["schemas"]["Pairing"] | null;
            /** @enum {string} */
            purpose: "session" | "extension";
            reference: string;
            refunds: components["schemas"]["PaymentRefund"][];
            review: components["schemas"]["Review"] | null;
            /** Format: date-time */
            server_now: string;
            session_id: string | null;
            /** @enum {string} */
            status: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded";
            target_mitra: components["schemas"]["TargetMitra"] | null;
            /** @enum {string} */
            what_happened: "served" | "searching" | "no_session" | "cut_short" | "unanswered" | "expired" | "abandoned" | "declined";
        };
        /** CustomerProfile */
        CustomerProfile: {
            call_name: string;
            /** Format: uuid */
            id: string;
            phone_masked: string;
            trial_available: boolean;
        };
        /** CustomerRecord */
        CustomerRecord: {
            call_name: string;
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            id: string;
            last_payment_at: string | null;
            open_cases: number;
            paid_rp: number;
            payments: number;
            phone_masked: string;
            sessions: number;
        };
        /** CustomerReference */
        CustomerReference: {
            call_name: string;
            /** Format: uuid */
            id: string;
            phone_masked: string;
        };
        /** CustomerSignedIn */
        CustomerSignedIn: {
            customer: components["schemas"]["OwnCustomer"];
            device_secret?: string;
            token?: string;
        };
        /** CustomerState */
        CustomerState: {
            extension: components["schemas"]["Extension"] | null;
            pairing: components["schemas"]["Pairing"] | null;
            payment: components["schemas"]["Payment"] | null;
            /** Format: date-time */
            server_now: string;
            session: components["schemas"]["Session"] | null;
            stream: components["schemas"]["StreamPosition"];
        };
        /** Dashboard */
        Dashboard: {
            acceptance_seconds: components["schemas"]["AcceptanceSeconds"];
            active_sessions: number;
            available: number | null;
            cases_overdue: number;
            closed_day: components["schemas"]["ClosedDay"] | null;
            connected: number | null;
            deadlines_overdue: number;
            deadlines_parked: number;
            failures_by_tag: {
                [key: string]: number;
            };
            free_capacity: number | null;
            frequent_readers: components["schemas"]["FrequentReader"][];
            funnel: components["schemas"]["Funnel"];
            gateway_alerts: number;
            gateway_unanswered: number;
            help_lines_unverified: number;
            match_rate: number | null;
            money: components["schemas"]["MoneyToday"];
            online: number;
            open_cases: number;
            refunds_awaiting_approval: number;
            refunds_refused: number;
            reports_overdue: number;
            reports_waiting: number;
            searches: components["schemas"]["SearchNow"][];
            searching_now: number;
            /** Format: date-time */
            server_now: string;
            /** Format: date-time */
            today_began_at: string;
            transcripts_waiting: number;
        };
        /** Decision */
        Decision: {
            amount_rp?: number | null;
            /** @enum {string} */
            decision: "refund" | "no_refund";
            expected_version?: string | null;
            note: string;
        };
        /** DecisionOutcome */
        DecisionOutcome: {
            case: components["schemas"]["ReviewCase"] | null;
            /** Format: uuid */
            case_id: string;
            problem: components["schemas"]["Problem"] | null;
        };
        /** DecisionOutcomes */
        DecisionOutcomes: {
            items: components["schemas"]["DecisionOutcome"][];
        };
        /** Decisions */
        Decisions: {
            case_ids: string[];
            /** @enum {string} */
            decision: "refund" | "no_refund";
            expected_versions?: {
                [key: string]: string;
            };
            note: string;
        };
        /** DeviceList */
        DeviceList: {
            items: components["schemas"]["control_center_operators_schemas_Device"][];
            next_cursor?: string | null;
            /** Format: date-time */
            server_now: string;
        };
        /** Devices */
        Devices: {
            items: components["schemas"]["accounts_schemas_Device"][];
            next_cursor?: string | null;
        };
        /** EarlierDecision */
        EarlierDecision: {
            /** Format: date-time */
            decided_at: string;
            decided_by: components["schemas"]["OperatorReference"];
            /** @enum {string} */
            decision: "refund" | "no_refund";
            note: string;
            /** Format: date-time */
            opened_at: string;
            /** @enum {string} */
            reason: "no_session" | "cut_short" | "refund_failed" | "restored" | "mitra_away" | "unanswered" | "complaint" | "books_differ" | "reported";
            refund: components["schemas"]["CaseRefund"] | null;
            withdrawn: boolean;
        };
        /** EndByCustomer */
        EndByCustomer: {
            /** @default false */
            review: boolean;
        };
        /** EndEarly */
        EndEarly: {
            reason: string;
        };
        /** Export */
        Export: {
            acceptances: components["schemas"]["ExportedAcceptance"][];
            blocks: components["schemas"]["ExportedBlock"][];
            chats: components["schemas"]["ExportedChatWithText"][];
            /** @constant */
            complete: true;
            /** Format: date-time */
            exported_at: string;
            payments: components["schemas"]["ExportedPayment"][];
            profile: components["schemas"]["ExportedProfile"];
            reports: components["schemas"]["ExportedReport"][];
            /** @constant */
            version: 1;
        };
        /** ExportedAcceptance */
        ExportedAcceptance: {
            /** Format: date-time */
            accepted_at: string;
            /** @enum {string} */
            kind: "terms" | "privacy" | "health_data" | "code_of_conduct";
            version: number;
        };
        /** ExportedBlock */
        ExportedBlock: {
            /** Format: date-time */
            created_at: string;
            name: string;
            /** Format: uuid */
            session_id: string;
        };
        /** ExportedChatWithText */
        ExportedChatWithText: {
            duration_minutes: number;
            /** @enum {null|string} */
            end_reason: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
            ended_at: string | null;
            extended_minutes: number;
            /** Format: uuid */
            id: string;
            messages: components["schemas"]["ExportedMessage"][];
            openings: components["schemas"]["ExportedOpening"][];
            rating: components["schemas"]["ExportedRating"] | null;
            /** Format: date-time */
            started_at: string;
            text_gone: boolean;
            text_until: string | null;
            with_name: string;
        };
        /** ExportedMessage */
        ExportedMessage: {
            /** Format: uuid */
            id: string;
            is_own: boolean;
            read_at: string | null;
            reply_to_message_id: string | null;
            /** Format: date-time */
            sent_at: string;
            text: string;
        };
        /** ExportedOpening */
        ExportedOpening: {
            /** Format: date-time */
            at: string;
            /** @enum {string} */
            why: "safety" | "payment" | "other";
        };
        /** ExportedPayment */
        ExportedPayment: {
            amount_rp: number;
            charged_rp: number;
            /** Format: date-time */
            created_at: string;
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            purpose: "session" | "extension";
            reference: string;
            refunds: components["schemas"]["PaymentRefund"][];
            review: components["schemas"]["Review"] | null;
            session_id: string | null;
            /** @enum {string} */
            status: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded";
            /** @enum {string} */
            what_happened: "served" | "searching" | "no_session" | "cut_short" | "unanswered" | "expired" | "abandoned" | "declined";
        };
        /** ExportedProfile */
        ExportedProfile: {
            /** Format: uuid */
            id: string;
            /** Format: date-time */
            member_since: string;
            name: string;
            phone_number: string;
            /** @enum {string} */
            role: "customer" | "mitra";
        };
        /** ExportedRating */
        ExportedRating: {
            /** @enum {string} */
            answer: "helpful" | "neutral" | "uncomfortable";
            /** Format: date-time */
            rated_at: string;
            tags: ("felt_heard" | "kind" | "useful" | "slow" | "distracted" | "judged" | "pushy")[];
        };
        /** ExportedReport */
        ExportedReport: {
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            id: string;
            note: string | null;
            /** @enum {string} */
            reason: "sexual" | "threat" | "insult" | "contact" | "money" | "minor" | "danger" | "not_listening" | "other";
            /** Format: uuid */
            session_id: string;
            /** @enum {string} */
            status: "received" | "acted" | "no_violation";
        };
        /** Extension */
        Extension: {
            /** Format: date-time */
            deadline_at: string;
            /** @enum {null|string} */
            decided_by: "mitra" | "timeout" | "mitra_unreachable" | "session_ended" | null;
            /** @enum {string} */
            default_action: "auto_reject" | "auto_approve";
            /** Format: uuid */
            id: string;
            mitra_went_offline: boolean;
            offer: components["schemas"]["Offer"];
            /** Format: uuid */
            payment_id: string;
            /** Format: date-time */
            server_now: string;
            /** Format: uuid */
            session_id: string;
            /** @enum {string} */
            status: "pending" | "charging" | "approved" | "rejected" | "charge_failed";
        };
        /** ExtensionOrder */
        ExtensionOrder: {
            /** @enum {null|string} */
            default_action?: "auto_reject" | "auto_approve" | null;
            /** Format: uuid */
            offer_id: string;
        };
        /** ExtraMitras */
        ExtraMitras: {
            count: number;
            from_hour: number;
            to_hour: number;
        };
        /** FailedPairing */
        FailedPairing: {
            amount_rp: number;
            anybody_asked: boolean;
            case_id: string | null;
            customer: components["schemas"]["CustomerReference"];
            /** Format: uuid */
            id: string;
            /** @enum {null|string} */
            kind: "blast" | "targeted" | null;
            mitra: components["schemas"]["MitraReference"] | null;
            /** Format: date-time */
            occurred_at: string;
            /** Format: uuid */
            payment_id: string;
            recovered: boolean;
            /** @enum {string} */
            tag: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled";
        };
        /** Fallback */
        Fallback: {
            allowed: boolean;
            /** Format: date-time */
            answer_by: string;
            other_available: boolean;
            /** @enum {string} */
            status: "open" | "taken" | "declined" | "expired";
        };
        /** Found */
        Found: {
            detail: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "customer" | "mitra" | "payment" | "session" | "case" | "pairing" | "request" | "extension" | "charge" | "refund" | "failed_pairing";
            label: string;
            payment_id: string | null;
        };
        /** FrequentReader */
        FrequentReader: {
            chats: number;
            operator: components["schemas"]["OperatorReference"];
        };
        /** Funnel */
        Funnel: {
            confirmed: number;
            finished: number;
            matched: number;
            opened: number;
        };
        /** GatewayBehaviour */
        GatewayBehaviour: {
            behaviour: ("approve" | "decline" | "slow" | "lost" | "double" | "processing" | "pending") | ("forget" | "invent");
            payment_id?: string | null;
        };
        /** GatewayNotice */
        GatewayNotice: {
            is_mocked: boolean;
            name: string;
        };
        /** GatewayRecords */
        GatewayRecords: {
            charges: components["schemas"]["RecordedCharge"][];
            refunds: components["schemas"]["RecordedRefund"][];
        };
        /** Happened */
        Happened: {
            failures: {
                [key: string]: number;
            };
            searches: number;
            served: number;
            wait_p50: number | null;
            wait_p95: number | null;
        };
        /** HelpChannel */
        HelpChannel: {
            /** @enum {string} */
            kind: "call" | "whatsapp" | "web";
            value: string;
        };
        /** HelpLine */
        HelpLine: {
            channels: components["schemas"]["HelpChannel"][];
            hours: components["schemas"]["BothLanguages"] | null;
            id: string;
            is_free: boolean | null;
            /** @enum {string} */
            kind: "line" | "step";
            language: string;
            name: string;
            note: components["schemas"]["BothLanguages"] | null;
            provider: string;
            region: components["schemas"]["BothLanguages"];
            source: string;
            verified_at: string | null;
            what_for: components["schemas"]["BothLanguages"];
        };
        /** HelpLineProposal */
        HelpLineProposal: {
            items: components["schemas"]["HelpLine"][];
        };
        /** HelpLines */
        HelpLines: {
            items: components["schemas"]["HelpLine"][];
            /** Format: date-time */
            published_at: string;
            version: number;
        };
        /** HelpLineVersion */
        HelpLineVersion: {
            items: components["schemas"]["HelpLine"][];
            /** Format: date-time */
            proposed_at: string;
            proposed_by: components["schemas"]["OperatorReference"] | null;
            published_at: string | null;
            published_by: components["schemas"]["OperatorReference"] | null;
            unverified: string[];
            version: number;
        };
        /** HelpLineVersions */
        HelpLineVersions: {
            current: components["schemas"]["HelpLineVersion"] | null;
            history: components["schemas"]["HelpLineVersion"][];
            proposed: components["schemas"]["HelpLineVersion"] | null;
            /** Format: date-time */
            server_now: string;
        };
        /** Inbox */
        Inbox: {
            messages: components["schemas"]["InboxMessage"][];
        };
        /** InboxMessage */
        InboxMessage: {
            code: string;
            /** Format: date-time */
            sent_at: string;
            text: string;
        };
        /** Interval */
        Interval: {
            high: number;
            low: number;
            mean: number;
        };
        /** InvitedMitra */
        InvitedMitra: {
            acceptance: components["schemas"]["control_center_records_schemas_Acceptance"];
            active_sessions: number;
            connected: boolean | null;
            /** Format: date-time */
            created_at: string;
            display_name: string;
            /** Format: uuid */
            id: string;
            is_new: boolean;
            last_seen_at: string | null;
            max_customers: number;
            online: boolean;
            phone_masked: string;
            suspended: boolean;
            suspended_at: string | null;
        };
        /** LeaveByCustomer */
        LeaveByCustomer: {
            /** @default false */
            block: boolean;
            /** @enum {null|string} */
            reason_code?: "felt_unsafe" | "emergency" | "technical" | "other" | null;
            report?: components["schemas"]["NewReport"] | null;
        };
        /** LeaveByMitra */
        LeaveByMitra: {
            /** @default false */
            block: boolean;
            /** @enum {null|string} */
            reason_code?: "felt_unsafe" | "emergency" | "technical" | "other" | "customer_inappropriate" | null;
            report?: components["schemas"]["NewReport"] | null;
        };
        /** LeftMitraSession */
        LeftMitraSession: {
            customer: components["schemas"]["CustomerName"];
            duration_minutes: number;
            /** @enum {null|string} */
            end_reason: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
            ended_at: string | null;
            /** Format: date-time */
            ends_at: string;
            extended_minutes: number;
            extension: components["schemas"]["Extension"] | null;
            /** Format: uuid */
            id: string;
            mitra: components["schemas"]["MitraName"];
            not_stored: components["schemas"]["NotStored"][];
            /** Format: date-time */
            server_now: string;
            /** Format: date-time */
            started_at: string;
            /** @enum {string} */
            status: "active" | "ended";
            text_gone: boolean;
            text_until: string | null;
        };
        /** LeftSession */
        LeftSession: {
            duration_minutes: number;
            /** @enum {null|string} */
            end_reason: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
            ended_at: string | null;
            /** Format: date-time */
            ends_at: string;
            extended_minutes: number;
            extension: components["schemas"]["Extension"] | null;
            /** Format: uuid */
            id: string;
            mitra: components["schemas"]["MitraName"];
            mitra_connected: boolean;
            not_stored: components["schemas"]["NotStored"][];
            /** Format: uuid */
            payment_id: string;
            review_possible_at: string | null;
            /** @enum {null|string} */
            review_reason: "cut_short" | "mitra_away" | "unanswered" | null;
            /** Format: date-time */
            server_now: string;
            /** Format: date-time */
            started_at: string;
            /** @enum {string} */
            status: "active" | "ended";
            text_gone: boolean;
            text_until: string | null;
        };
        /** LinkUse */
        LinkUse: {
            password: string;
            secret: string;
        };
        /** LinkUsed */
        LinkUsed: {
            email: string;
        };
        /** Login */
        Login: {
            device_secret?: string | null;
            email: string;
            password: string;
            recovery_code?: string | null;
            totp?: string | null;
            /**
             * @default bearer
             * @enum {string}
             */
            transport: "bearer" | "cookie";
        };
        /** MarkRead */
        MarkRead: {
            /** Format: uuid */
            up_to_message_id: string;
        };
        /** Message */
        Message: {
            client_message_id: string;
            /** Format: uuid */
            id: string;
            read_at: string | null;
            reply_to_message_id: string | null;
            /** @enum {string} */
            sender: "customer" | "mitra";
            /** Format: date-time */
            sent_at: string;
            /** Format: uuid */
            session_id: string;
            text: string;
        };
        /** MessagePage */
        MessagePage: {
            items: components["schemas"]["Message"][];
            next_cursor: string | null;
            text_gone: boolean;
            text_until: string | null;
        };
        /** MitraAnswers */
        MitraAnswers: {
            acceptance: number;
            accepted: number;
            asked: number;
            display_name: string;
            /** Format: uuid */
            id: string;
            online: boolean;
            rejected: number;
            seconds_average: number | null;
            suspended: boolean;
            taken: number;
            unanswered: number;
        };
        /** MitraAnswersList */
        MitraAnswersList: {
            items: components["schemas"]["MitraAnswers"][];
            next_cursor?: string | null;
            /** Format: date-time */
            since: string;
            /** Format: date-time */
            until: string;
        };
        /** MitraChange */
        MitraChange: {
            display_name?: string;
            max_customers?: number;
            reason?: string;
            suspended?: boolean;
        };
        /** MitraDetail */
        MitraDetail: {
            acceptance: components["schemas"]["control_center_records_schemas_Acceptance"];
            active_sessions: number;
            blocks: components["schemas"]["BlocksOfPerson"];
            connected: boolean | null;
            /** Format: date-time */
            created_at: string;
            display_name: string;
            /** Format: uuid */
            id: string;
            last_seen_at: string | null;
            max_customers: number;
            online: boolean;
            phone_masked: string;
            ratings: components["schemas"]["RatingCounts"];
            reports: components["schemas"]["ReportsOfPerson"];
            suspended: boolean;
            suspended_at: string | null;
            suspended_until: string | null;
            suspension_reason: string | null;
        };
        /** MitraInvitation */
        MitraInvitation: {
            display_name: string;
            max_customers: number;
            phone: string;
        };
        /** MitraLoad */
        MitraLoad: {
            as_it_was: number;
            display_name: string;
            happened: number;
            id: string | null;
            what_if: number;
        };
        /** MitraName */
        MitraName: {
            display_name: string;
            /** Format: uuid */
            id: string;
        };
        /** MitraPresence */
        MitraPresence: {
            active_sessions: number;
            break_until?: string | null;
            connected: boolean;
            max_customers: number;
            online: boolean;
        };
        /** MitraProfile */
        MitraProfile: {
            active_sessions: number;
            break_until?: string | null;
            connected: boolean;
            display_name: string;
            /** Format: uuid */
            id: string;
            max_customers: number;
            online: boolean;
        };
        /** MitraRecord */
        MitraRecord: {
            acceptance: components["schemas"]["control_center_records_schemas_Acceptance"];
            active_sessions: number;
            connected: boolean | null;
            /** Format: date-time */
            created_at: string;
            display_name: string;
            /** Format: uuid */
            id: string;
            last_seen_at: string | null;
            max_customers: number;
            online: boolean;
            phone_masked: string;
            suspended: boolean;
            suspended_at: string | null;
        };
        /** MitraReference */
        MitraReference: {
            display_name: string;
            /** Format: uuid */
            id: string;
        };
        /** MitraRequest */
        MitraRequest: {
            answer_seconds: number | null;
            answered_at: string | null;
            /** @enum {null|string} */
            close_reason: "already_taken" | "customer_cancelled" | "timed_out" | "went_offline" | "at_capacity" | "suspended" | "rejected" | "accepted" | null;
            customer: components["schemas"]["CustomerReference"];
            /** Format: uuid */
            id: string;
            is_returning: boolean;
            /** @enum {string} */
            kind: "blast" | "targeted";
            /** Format: date-time */
            offered_at: string;
            /** @enum {string} */
            outcome: "offered" | "accepted" | "rejected" | "closed";
            /** Format: uuid */
            payment_id: string;
        };
        /** MitraSession */
        MitraSession: {
            customer: components["schemas"]["CustomerName"];
            duration_minutes: number;
            /** @enum {null|string} */
            end_reason: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
            ended_at: string | null;
            /** Format: date-time */
            ends_at: string;
            extended_minutes: number;
            extension: components["schemas"]["Extension"] | null;
            /** Format: uuid */
            id: string;
            mitra: components["schemas"]["MitraName"];
            /** Format: date-time */
            server_now: string;
            /** Format: date-time */
            started_at: string;
            /** @enum {string} */
            status: "active" | "ended";
            text_gone: boolean;
            text_until: string | null;
        };
        /** MitraSignedIn */
        MitraSignedIn: {
            device_secret?: string;
            mitra: components["schemas"]["OwnMitra"];
            token?: string;
        };
        /** MitraState */
        MitraState: {
            extensions: components["schemas"]["Extension"][];
            presence: components["schemas"]["MitraPresence"];
            requests: components["schemas"]["Request"][];
            /** Format: date-time */
            server_now: string;
            sessions: components["schemas"]["MitraSession"][];
            stream: components["schemas"]["StreamPosition"];
        };
        /** MitraStatusAnswer */
        MitraStatusAnswer: {
            /** @default false */
            blocked_by_you: boolean;
            other_available: boolean;
            /** @enum {string} */
            status: "available" | "offline" | "full";
        };
        /** MoneyToday */
        MoneyToday: {
            refunded_rp: number;
            taken_rp: number;
            under_review_rp: number;
        };
        /** NamedGround */
        NamedGround: {
            id?: string | null;
            /** @enum {string} */
            kind: "report" | "case" | "concern" | "legal_order";
        };
        /** NewAppeal */
        NewAppeal: {
            text: string;
        };
        /** NewConcern */
        NewConcern: {
            /** @enum {string} */
            level: "worried" | "danger_now";
            note?: string | null;
        };
        /** NewMessage */
        NewMessage: {
            client_message_id: string;
            reply_to_message_id?: string | null;
            text: string;
        };
        /** NewRating */
        NewRating: {
            /** @enum {string} */
            answer: "helpful" | "neutral" | "uncomfortable";
            tags?: ("felt_heard" | "kind" | "useful" | "slow" | "distracted" | "judged" | "pushy")[];
        };
        /** NewReport */
        NewReport: {
            message_ids?: string[];
            note?: string | null;
            /** @enum {string} */
            reason: "sexual" | "threat" | "insult" | "contact" | "money" | "minor" | "danger" | "not_listening" | "other";
        };
        /** Notice */
        Notice: {
            acknowledged_at: string | null;
            appeal: components["schemas"]["Appeal"] | null;
            appeal_by: string | null;
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "report_acted" | "report_no_violation" | "warning" | "suspension" | "suspension_lifted" | "appeal_upheld" | "appeal_overturned";
            must_acknowledge: boolean;
            /** @enum {null|string} */
            rule: "sexual" | "threat" | "insult" | "contact" | "money" | "minor" | "danger" | "not_listening" | "other" | null;
            /** Format: date-time */
            server_now: string;
            session_id: string | null;
            suspended_until: string | null;
        };
        /** NotStored */
        NotStored: {
            code: string;
            /** @enum {string} */
            part: "report" | "block";
        };
        /** Offer */
        Offer: {
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            price_rp: number;
        };
        /** OfferList */
        OfferList: {
            answer_seconds?: number | null;
            /** @enum {null|string} */
            default_action?: "auto_reject" | "auto_approve" | null;
            offers: components["schemas"]["Offer"][];
        };
        /** OpenedCase */
        OpenedCase: {
            note: string;
            /** @constant */
            reason: "complaint";
        };
        /** OperatorAccount */
        OperatorAccount: {
            email: string;
            /** Format: uuid */
            id: string;
            permissions: ("own_account" | "view" | "decide" | "reveal" | "configure" | "manage_mitras" | "manage_devices" | "manage_operators" | "publish" | "ask_what_if")[];
            recovery_codes_left: number;
            /** @enum {string} */
            role: "admin" | "reviewer" | "viewer";
            totp_enrolled: boolean;
        };
        /** OperatorChange */
        OperatorChange: {
            active?: boolean;
            role?: "admin" | "reviewer" | "viewer";
        };
        /** OperatorInvitation */
        OperatorInvitation: {
            email: string;
            /** @enum {string} */
            role: "admin" | "reviewer" | "viewer";
        };
        /** OperatorLink */
        OperatorLink: {
            /** Format: date-time */
            expires_at: string;
            operator: components["schemas"]["TeamMember"];
            path: string;
            secret: string;
        };
        /** OperatorReference */
        OperatorReference: {
            email: string;
            /** Format: uuid */
            id: string;
        };
        /** OperatorSignedIn */
        OperatorSignedIn: {
            device_secret?: string;
            must_change_password: boolean;
            operator: components["schemas"]["OwnOperator"];
            token?: string;
            totp_enrolled: boolean;
        };
        /** OwnCustomer */
        OwnCustomer: {
            call_name: string;
            /** Format: uuid */
            id: string;
        };
        /** OwnMitra */
        OwnMitra: {
            display_name: string;
            /** Format: uuid */
            id: string;
        };
        /** OwnOperator */
        OwnOperator: {
            email: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            role: "admin" | "reviewer" | "viewer";
        };
        /** Page[ConfigurationChange] */
        "Page_curhat.configuration.schemas.ConfigurationChange_": {
            items: components["schemas"]["ConfigurationChange"][];
            next_cursor: string | null;
        };
        /** Page[ConfigurationRow] */
        "Page_curhat.configuration.schemas.ConfigurationRow_": {
            items: components["schemas"]["ConfigurationRow"][];
            next_cursor: string | null;
        };
        /** Page[AuditEntry] */
        "Page_curhat.control_center.audit.schemas.AuditEntry_": {
            items: components["schemas"]["AuditEntry"][];
            next_cursor: string | null;
        };
        /** Page[CustomerRecord] */
        "Page_curhat.control_center.records.schemas.CustomerRecord_": {
            items: components["schemas"]["CustomerRecord"][];
            next_cursor: string | null;
        };
        /** Page[MitraRecord] */
        "Page_curhat.control_center.records.schemas.MitraRecord_": {
            items: components["schemas"]["MitraRecord"][];
            next_cursor: string | null;
        };
        /** Page[MitraRequest] */
        "Page_curhat.control_center.records.schemas.MitraRequest_": {
            items: components["schemas"]["MitraRequest"][];
            next_cursor: string | null;
        };
        /** Page[PaymentRecord] */
        "Page_curhat.control_center.records.schemas.PaymentRecord_": {
            items: components["schemas"]["PaymentRecord"][];
            next_cursor: string | null;
        };
        /** Page[SessionRecord] */
        "Page_curhat.control_center.records.schemas.SessionRecord_": {
            items: components["schemas"]["SessionRecord"][];
            next_cursor: string | null;
        };
        /** Page[QueuedReport] */
        "Page_curhat.control_center.reports.schemas.QueuedReport_": {
            items: components["schemas"]["QueuedReport"][];
            next_cursor: string | null;
        };
        /** Page[FailedPairing] */
        "Page_curhat.control_center.review.schemas.FailedPairing_": {
            items: components["schemas"]["FailedPairing"][];
            next_cursor: string | null;
        };
        /** Page[ReviewCase] */
        "Page_curhat.control_center.review.schemas.ReviewCase_": {
            items: components["schemas"]["ReviewCase"][];
            next_cursor: string | null;
        };
        /** Page[PastVersion] */
        "Page_curhat.control_center.texts.schemas.PastVersion_": {
            items: components["schemas"]["PastVersion"][];
            next_cursor: string | null;
        };
        /** Page[CustomerPayment] */
        "Page_curhat.journeys.schemas.CustomerPayment_": {
            items: components["schemas"]["CustomerPayment"][];
            next_cursor: string | null;
        };
        /** Page[PastRequest] */
        "Page_curhat.journeys.schemas.PastRequest_": {
            items: components["schemas"]["PastRequest"][];
            next_cursor: string | null;
        };
        /** Page[Notice] */
        "Page_curhat.safety.reports.schemas.Notice_": {
            items: components["schemas"]["Notice"][];
            next_cursor: string | null;
        };
        /** Page[Report] */
        "Page_curhat.safety.reports.schemas.Report_": {
            items: components["schemas"]["Report"][];
            next_cursor: string | null;
        };
        /** Page[MitraSession] */
        "Page_curhat.sessions.schemas.MitraSession_": {
            items: components["schemas"]["MitraSession"][];
            next_cursor: string | null;
        };
        /** Page[Session] */
        "Page_curhat.sessions.schemas.Session_": {
            items: components["schemas"]["Session"][];
            next_cursor: string | null;
        };
        /** Pairing */
        Pairing: {
            anybody_asked: boolean;
            /** Format: date-time */
            deadline_at: string;
            /** @enum {null|string} */
            failure_tag: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
            fallback: components["schemas"]["Fallback"] | null;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "blast" | "targeted";
            /** Format: uuid */
            payment_id: string;
            /** Format: date-time */
            server_now: string;
            session_id: string | null;
            /** @enum {string} */
            status: "open" | "matched" | "failed";
        };
        /** PasswordChange */
        PasswordChange: {
            new_password: string;
            password: string;
        };
        /** PastRequest */
        PastRequest: {
            answered_at: string | null;
            call_name: string;
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            is_returning: boolean;
            is_trial: boolean;
            /** @enum {string} */
            kind: "blast" | "targeted";
            /** Format: date-time */
            offered_at: string;
            /** @enum {string} */
            outcome: "already_taken" | "customer_cancelled" | "timed_out" | "went_offline" | "at_capacity" | "suspended" | "rejected" | "accepted";
            session_id: string | null;
        };
        /** PastVersion */
        PastVersion: {
            is_draft: boolean;
            /** Format: date-time */
            published_at: string;
            published_by: string;
            version: number;
        };
        /** Payment */
        Payment: {
            amount_rp: number;
            /** Format: date-time */
            created_at: string;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            id: string;
            offer: components["schemas"]["PaymentOffer"];
            pairing: components["schemas"]["Pairing"] | null;
            /** @enum {string} */
            purpose: "session" | "extension";
            /** Format: date-time */
            server_now: string;
            /** @enum {string} */
            status: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded";
            target_mitra: components["schemas"]["TargetMitra"] | null;
        };
        /** PaymentDetail */
        PaymentDetail: {
            amount_rp: number;
            anybody_asked: boolean;
            case_id: string | null;
            closed_at: string | null;
            confirmed_at: string | null;
            /** Format: date-time */
            created_at: string;
            customer: components["schemas"]["CustomerReference"];
            duration_minutes: number;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            mitras_asked: number;
            money: components["schemas"]["SessionMoney"];
            /** @enum {string} */
            purpose: "session" | "extension";
            /** Format: date-time */
            server_now: string;
            session_id: string | null;
            /** @enum {string} */
            status: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded";
            /** @enum {null|string} */
            tag: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
            target_mitra: components["schemas"]["MitraReference"] | null;
            timeline: components["schemas"]["TimelineEntry"][];
        };
        /** PaymentOffer */
        PaymentOffer: {
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            price_rp: number;
        };
        /** PaymentOrder */
        PaymentOrder: {
            /** Format: uuid */
            offer_id: string;
            target_mitra_id?: string | null;
        };
        /** PaymentRecord */
        PaymentRecord: {
            amount_rp: number;
            anybody_asked: boolean;
            case_id: string | null;
            closed_at: string | null;
            confirmed_at: string | null;
            /** Format: date-time */
            created_at: string;
            customer: components["schemas"]["CustomerReference"];
            duration_minutes: number;
            /** Format: date-time */
            expires_at: string;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            /** @enum {string} */
            purpose: "session" | "extension";
            /** Format: date-time */
            server_now: string;
            session_id: string | null;
            /** @enum {string} */
            status: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded";
            /** @enum {null|string} */
            tag: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
            target_mitra: components["schemas"]["MitraReference"] | null;
        };
        /** PaymentRefund */
        PaymentRefund: {
            amount_rp: number;
            /** Format: date-time */
            at: string;
            /** @enum {string} */
            status: "requested" | "done" | "failed";
        };
        /** PaymentTotals */
        PaymentTotals: {
            amount_rp: number;
            is_at_least: boolean;
            payments: number;
            taken_rp: number;
        };
        /** PhoneOrder */
        PhoneOrder: {
            reason: string;
        };
        /** PresenceChange */
        PresenceChange: {
            online: boolean;
        };
        /** Problem */
        Problem: {
            code: string;
            detail: string;
            status: number | ("offline" | "full");
            title: string;
            type: string;
        };
        /** ProfileChange */
        ProfileChange: {
            call_name: string;
        };
        /** PublicText */
        PublicText: {
            body: string;
            is_draft: boolean;
            /** @enum {string} */
            kind: "terms" | "privacy" | "health_data" | "code_of_conduct";
            /** @enum {string} */
            language: "id" | "en";
            /** Format: date-time */
            published_at: string;
            version: number;
        };
        /** PublicTexts */
        PublicTexts: {
            items: components["schemas"]["PublicText"][];
        };
        /** PushKey */
        PushKey: {
            public_key: string;
        };
        /** PushSubscription */
        PushSubscription: {
            endpoint?: string | null;
            expirationTime?: number | null;
            keys?: components["schemas"]["SubscriptionKeys"] | null;
            /**
             * @default web_push
             * @enum {string}
             */
            kind: "web_push" | "fcm";
            /**
             * @default id
             * @enum {string}
             */
            language: "id" | "en";
            token?: string | null;
        };
        /** PushSubscriptionEnd */
        PushSubscriptionEnd: {
            endpoint?: string | null;
            expirationTime?: number | null;
            keys?: components["schemas"]["SubscriptionKeys"] | null;
            /**
             * @default web_push
             * @enum {string}
             */
            kind: "web_push" | "fcm";
            token?: string | null;
        };
        /** PushTest */
        PushTest: {
            sent_to: number;
        };
        /** QueuedReport */
        QueuedReport: {
            appeal_decided_at: string | null;
            appeal_decided_by: components["schemas"]["OperatorReference"] | null;
            /** @enum {null|string} */
            appeal_decision: "upheld" | "overturned" | null;
            appealed_at: string | null;
            approved_at: string | null;
            approved_by: components["schemas"]["OperatorReference"] | null;
            /** Format: date-time */
            created_at: string;
            customer: components["schemas"]["CustomerReference"];
            decided_at: string | null;
            decided_by: components["schemas"]["OperatorReference"] | null;
            /** @enum {null|string} */
            decision: "no_action" | "warn" | "suspend" | null;
            /** Format: date-time */
            due_at: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "report" | "concern";
            /** @enum {null|string} */
            level: "worried" | "danger_now" | null;
            marked_messages: number;
            mitra: components["schemas"]["MitraReference"];
            overdue: boolean;
            /** @enum {null|string} */
            reason: "sexual" | "threat" | "insult" | "contact" | "money" | "minor" | "danger" | "not_listening" | "other" | null;
            /** @enum {string} */
            reported: "customer" | "mitra";
            /** @enum {string} */
            reporter: "customer" | "mitra";
            /** Format: date-time */
            server_now: string;
            /** Format: uuid */
            session_id: string;
            /** @enum {string} */
            status: "open" | "awaiting_approval" | "decided" | "appealed";
            suspend_until: string | null;
            /** @enum {string} */
            urgency: "within_15_minutes" | "within_24_hours" | "within_72_hours";
        };
        /** Rating */
        Rating: {
            /** @enum {string} */
            answer: "helpful" | "neutral" | "uncomfortable";
            /** Format: date-time */
            rated_at: string;
            /** Format: uuid */
            session_id: string;
            tags: ("felt_heard" | "kind" | "useful" | "slow" | "distracted" | "judged" | "pushy")[];
        };
        /** RatingCounts */
        RatingCounts: {
            helpful: number;
            neutral: number;
            tags: {
                [key: string]: number;
            };
            uncomfortable: number;
        };
        /** RatingsOfWeeks */
        RatingsOfWeeks: {
            /** Format: date */
            first_day: string;
            helpful: number;
            /** Format: date */
            last_day: string;
            neutral: number;
            uncomfortable: number;
        };
        /** RatingState */
        RatingState: {
            closes_at: string | null;
            rating: components["schemas"]["Rating"] | null;
            /** Format: date-time */
            server_now: string;
        };
        /** RatingSums */
        RatingSums: {
            items: components["schemas"]["RatingsOfWeeks"][];
        };
        /** RealtimeTicket */
        RealtimeTicket: {
            /** Format: date-time */
            expires_at: string;
            /** Format: date-time */
            server_now: string;
            ticket: string;
        };
        /** RecordedCharge */
        RecordedCharge: {
            amount_rp: number;
            /** Format: date-time */
            at: string;
            /** Format: uuid */
            key: string;
            /** Format: uuid */
            payment_id: string;
            /** @enum {string} */
            status: "approved" | "declined" | "processing";
        };
        /** RecordedRefund */
        RecordedRefund: {
            amount_rp: number;
            /** Format: date-time */
            at: string;
            /** Format: uuid */
            charge_key: string;
            /** Format: uuid */
            key: string;
            /** Format: uuid */
            payment_id: string;
            /** @enum {string} */
            status: "done" | "failed" | "processing";
        };
        /** RecoveryCodes */
        RecoveryCodes: {
            recovery_codes: string[];
        };
        /** Replayed */
        Replayed: {
            busiest_mitra: components["schemas"]["Interval"];
            failures: {
                [key: string]: components["schemas"]["Interval"];
            };
            served: components["schemas"]["Interval"];
            sessions_per_mitra: components["schemas"]["Interval"];
            wait_p50: components["schemas"]["Interval"] | null;
            wait_p95: components["schemas"]["Interval"] | null;
        };
        /** Report */
        Report: {
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            reason: "sexual" | "threat" | "insult" | "contact" | "money" | "minor" | "danger" | "not_listening" | "other";
            /** Format: uuid */
            session_id: string;
            /** @enum {string} */
            status: "received" | "acted" | "no_violation";
        };
        /** ReportDetail */
        ReportDetail: {
            appeal_decided_at: string | null;
            appeal_decided_by: components["schemas"]["OperatorReference"] | null;
            /** @enum {null|string} */
            appeal_decision: "upheld" | "overturned" | null;
            appeal_note: string | null;
            appeal_text: string | null;
            appealed_at: string | null;
            approved_at: string | null;
            approved_by: components["schemas"]["OperatorReference"] | null;
            case_id: string | null;
            /** Format: date-time */
            created_at: string;
            customer: components["schemas"]["CustomerReference"];
            decided_at: string | null;
            decided_by: components["schemas"]["OperatorReference"] | null;
            /** @enum {null|string} */
            decision: "no_action" | "warn" | "suspend" | null;
            decision_note: string | null;
            /** Format: date-time */
            due_at: string;
            /** Format: uuid */
            id: string;
            /** @enum {string} */
            kind: "report" | "concern";
            /** @enum {null|string} */
            level: "worried" | "danger_now" | null;
            marked_messages: number;
            messages: components["schemas"]["ReportedMessage"][];
            mitra: components["schemas"]["MitraReference"];
            note: string | null;
            overdue: boolean;
            /** Format: uuid */
            payment_id: string;
            /** @enum {null|string} */
            reason: "sexual" | "threat" | "insult" | "contact" | "money" | "minor" | "danger" | "not_listening" | "other" | null;
            /** @enum {string} */
            reported: "customer" | "mitra";
            /** @enum {string} */
            reporter: "customer" | "mitra";
            sanctions_before: number;
            /** Format: date-time */
            server_now: string;
            /** Format: uuid */
            session_id: string;
            /** @enum {string} */
            status: "open" | "awaiting_approval" | "decided" | "appealed";
            suspend_until: string | null;
            /** @enum {string} */
            urgency: "within_15_minutes" | "within_24_hours" | "within_72_hours";
        };
        /** ReportedMessage */
        ReportedMessage: {
            /** Format: uuid */
            id: string;
            is_marked: boolean;
            /** @enum {string} */
            sender: "customer" | "mitra";
            /** Format: date-time */
            sent_at: string;
            text: string;
        };
        /** ReportsOfPerson */
        ReportsOfPerson: {
            about: number;
            concerns: number;
            made: number;
            sanctions: number;
        };
        /** ReportVerdict */
        ReportVerdict: {
            /** @enum {string} */
            decision: "no_action" | "warn" | "suspend";
            note: string;
            until?: string | null;
        };
        /** Request */
        Request: {
            call_name: string;
            /** @enum {null|string} */
            close_reason: "already_taken" | "customer_cancelled" | "timed_out" | "went_offline" | "at_capacity" | "suspended" | "rejected" | "accepted" | null;
            /** Format: date-time */
            deadline_at: string;
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            is_returning: boolean;
            is_trial: boolean;
            /** @enum {string} */
            kind: "blast" | "targeted";
            /** Format: date-time */
            server_now: string;
        };
        /** RequestList */
        RequestList: {
            items: components["schemas"]["Request"][];
            /** Format: date-time */
            server_now: string;
        };
        /** RequestsOfPeriod */
        RequestsOfPeriod: {
            accepted: number;
            asked: number;
            not_answered: number;
            rejected: number;
            taken_by_another: number;
            withdrawn: number;
        };
        /** RevealedPhone */
        RevealedPhone: {
            /** Format: uuid */
            customer_id: string;
            /**
             * @default vital_interest
             * @constant
             */
            ground: "vital_interest";
            phone_number: string;
        };
        /** Review */
        Review: {
            decided_at: string | null;
            /** @enum {null|string} */
            decision: "refund" | "no_refund" | null;
            /** Format: date-time */
            opened_at: string;
            /** @enum {string} */
            status: "open" | "decided";
        };
        /** ReviewCase */
        ReviewCase: {
            amount_rp: number;
            anybody_asked: boolean;
            customer: components["schemas"]["CustomerReference"];
            decided_at: string | null;
            decided_by: components["schemas"]["OperatorReference"] | null;
            /** @enum {null|string} */
            decision: "refund" | "no_refund" | null;
            /** Format: uuid */
            id: string;
            needs_approval: boolean;
            note: string | null;
            /** Format: date-time */
            opened_at: string;
            opened_by: components["schemas"]["OperatorReference"] | null;
            opened_note: string | null;
            /** Format: uuid */
            payment_id: string;
            /** @enum {string} */
            reason: "no_session" | "cut_short" | "refund_failed" | "restored" | "mitra_away" | "unanswered" | "complaint" | "books_differ" | "reported";
            refund: components["schemas"]["CaseRefund"] | null;
            refundable_rp: number;
            /** @enum {string} */
            status: "open" | "decided";
            /** @enum {null|string} */
            tag: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
            version: string;
        };
        /** ReviewCaseDetail */
        ReviewCaseDetail: {
            amount_rp: number;
            anybody_asked: boolean;
            book_differences: components["schemas"]["BookDifference"][];
            customer: components["schemas"]["CustomerReference"];
            decided_at: string | null;
            decided_by: components["schemas"]["OperatorReference"] | null;
            /** @enum {null|string} */
            decision: "refund" | "no_refund" | null;
            earlier_decisions: components["schemas"]["EarlierDecision"][];
            /** Format: uuid */
            id: string;
            money: components["schemas"]["SessionMoney"];
            needs_approval: boolean;
            note: string | null;
            /** Format: date-time */
            opened_at: string;
            opened_by: components["schemas"]["OperatorReference"] | null;
            opened_note: string | null;
            payment: components["schemas"]["PaymentRecord"];
            /** Format: uuid */
            payment_id: string;
            /** @enum {string} */
            reason: "no_session" | "cut_short" | "refund_failed" | "restored" | "mitra_away" | "unanswered" | "complaint" | "books_differ" | "reported";
            refund: components["schemas"]["CaseRefund"] | null;
            refundable_rp: number;
            /** Format: date-time */
            server_now: string;
            /** @enum {string} */
            status: "open" | "decided";
            /** @enum {null|string} */
            tag: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
            timeline: components["schemas"]["TimelineEntry"][];
            version: string;
        };
        /** SearchNow */
        SearchNow: {
            age_seconds: number;
            asked: number;
            /** Format: date-time */
            began_at: string;
            call_name: string;
            /** Format: date-time */
            deadline_at: string;
            /** @enum {string} */
            kind: "blast" | "targeted";
            /** Format: uuid */
            pairing_id: string;
            /** Format: uuid */
            payment_id: string;
            rejected: number;
        };
        /** SearchResults */
        SearchResults: {
            items: components["schemas"]["Found"][];
        };
        /** SelectedCase */
        SelectedCase: {
            /** Format: uuid */
            case_id: string;
            refundable_rp: number;
            version: string;
        };
        /** ServiceFacts */
        ServiceFacts: {
            help_url: string | null;
            lowest_price_rp: number | null;
            trial_minutes: number | null;
        };
        /** Session */
        Session: {
            duration_minutes: number;
            /** @enum {null|string} */
            end_reason: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
            ended_at: string | null;
            /** Format: date-time */
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
            /** @enum {null|string} */
            review_reason: "cut_short" | "mitra_away" | "unanswered" | null;
            /** Format: date-time */
            server_now: string;
            /** Format: date-time */
            started_at: string;
            /** @enum {string} */
            status: "active" | "ended";
            text_gone: boolean;
            text_until: string | null;
        };
        /** SessionDetail */
        SessionDetail: {
            case_id: string | null;
            customer: components["schemas"]["CustomerReference"];
            duration_minutes: number;
            end_note: string | null;
            /** @enum {null|string} */
            end_reason: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
            ended_at: string | null;
            /** Format: date-time */
            ends_at: string;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            /** @enum {null|string} */
            leave_reason: "felt_unsafe" | "emergency" | "technical" | "other" | "customer_inappropriate" | "not_given" | null;
            messages_of_customer: number;
            messages_of_mitra: number;
            mitra: components["schemas"]["MitraReference"];
            money: components["schemas"]["SessionMoney"];
            /** Format: uuid */
            payment_id: string;
            /** Format: date-time */
            server_now: string;
            /** Format: date-time */
            started_at: string;
            /** @enum {string} */
            status: "active" | "ended";
        };
        /** SessionMoney */
        SessionMoney: {
            left_rp: number;
            payments: components["schemas"]["UnitPayment"][];
            refunded_rp: number;
            requested_rp: number;
            session_id: string | null;
            taken_rp: number;
        };
        /** SessionRecord */
        SessionRecord: {
            case_id: string | null;
            customer: components["schemas"]["CustomerReference"];
            duration_minutes: number;
            end_note: string | null;
            /** @enum {null|string} */
            end_reason: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
            ended_at: string | null;
            /** Format: date-time */
            ends_at: string;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            /** @enum {null|string} */
            leave_reason: "felt_unsafe" | "emergency" | "technical" | "other" | "customer_inappropriate" | "not_given" | null;
            mitra: components["schemas"]["MitraReference"];
            /** Format: uuid */
            payment_id: string;
            /** Format: date-time */
            server_now: string;
            /** Format: date-time */
            started_at: string;
            /** @enum {string} */
            status: "active" | "ended";
        };
        /** SessionTotals */
        SessionTotals: {
            amount_rp: number;
            is_at_least: boolean;
            minutes: number;
            sessions: number;
        };
        /** StreamPosition */
        StreamPosition: {
            /** Format: uuid */
            epoch: string;
            seq: number;
        };
        /** SubscriptionKeys */
        SubscriptionKeys: {
            auth: string;
            p256dh: string;
        };
        /** SuspensionApproval */
        SuspensionApproval: {
            /** @default true */
            approved: boolean;
        };
        /** SuspensionChange */
        SuspensionChange: {
            reason: string;
            /** @default true */
            suspended: boolean;
            until?: string | null;
        };
        /** TargetMitra */
        TargetMitra: {
            display_name: string;
            /** Format: uuid */
            id: string;
        };
        /** Team */
        Team: {
            items: components["schemas"]["TeamMember"][];
            next_cursor?: string | null;
            /** Format: date-time */
            server_now: string;
        };
        /** TeamMember */
        TeamMember: {
            /** Format: date-time */
            created_at: string;
            devices: number;
            email: string;
            /** Format: uuid */
            id: string;
            last_seen_at: string | null;
            link_expires_at: string | null;
            /** @enum {string} */
            role: "admin" | "reviewer" | "viewer";
            /** @enum {string} */
            state: "active" | "awaiting_link" | "deactivated";
            totp_enrolled: boolean;
        };
        /** TextBodies */
        TextBodies: {
            en: string;
            id: string;
        };
        /** TextPublication */
        TextPublication: {
            bodies: components["schemas"]["TextBodies"];
            expected_version?: number | null;
            /** @default false */
            is_draft: boolean;
            /** @enum {string} */
            kind: "terms" | "privacy" | "health_data" | "code_of_conduct";
        };
        /** TextsToAccept */
        TextsToAccept: {
            is_adult: boolean;
            items: components["schemas"]["TextToAccept"][];
        };
        /** TextToAccept */
        TextToAccept: {
            accepted_at?: string | null;
            body: string;
            is_draft: boolean;
            /** @enum {string} */
            kind: "terms" | "privacy" | "health_data" | "code_of_conduct";
            /** @enum {string} */
            language: "id" | "en";
            /** Format: date-time */
            published_at: string;
            version: number;
        };
        /** TextVersion */
        TextVersion: {
            bodies: components["schemas"]["TextBodies"];
            is_draft: boolean;
            /** @enum {string} */
            kind: "terms" | "privacy" | "health_data" | "code_of_conduct";
            /** Format: date-time */
            published_at: string;
            published_by: string;
            version: number;
        };
        /** TimelineEntry */
        TimelineEntry: {
            amount_rp: number | null;
            /** Format: date-time */
            at: string;
            /** Format: uuid */
            entity_id: string;
            /** @enum {null|string} */
            kind: "blast" | "targeted" | null;
            mitra: components["schemas"]["MitraReference"] | null;
            note: string | null;
            operator: components["schemas"]["OperatorReference"] | null;
            reason: string | null;
            /** @enum {null|string} */
            status: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded" | "charging" | "approved" | "rejected" | "charge_failed" | "declined" | "approved_late" | "accepted" | "closed" | "matched" | "failed" | "recovered" | "refund" | "no_refund" | "done" | null;
            /** @enum {null|string} */
            tag: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
            /** @enum {string} */
            type: "payment_opened" | "payment_status" | "charge_started" | "charge_answered" | "pairing_opened" | "mitra_asked" | "mitra_answered" | "pairing_decided" | "failure_logged" | "session_started" | "session_ended" | "extension_requested" | "extension_decided" | "case_opened" | "case_decided" | "refund_approved" | "refund_requested" | "refund_answered";
        };
        /** TotpBeginning */
        TotpBeginning: {
            password: string;
            recovery_code?: string | null;
            totp?: string | null;
        };
        /** TotpProof */
        TotpProof: {
            totp: string;
        };
        /** TotpSecret */
        TotpSecret: {
            otpauth_uri: string;
            qr_svg: string;
            secret: string;
        };
        /** Transcript */
        Transcript: {
            ground: components["schemas"]["TranscriptGround"];
            messages: components["schemas"]["TranscriptMessage"][];
            /** Format: uuid */
            session_id: string;
        };
        /** TranscriptGround */
        TranscriptGround: {
            id: string | null;
            /** @enum {string} */
            kind: "report" | "case" | "concern" | "legal_order" | "approval";
        };
        /** TranscriptMessage */
        TranscriptMessage: {
            /** Format: uuid */
            id: string;
            read_at: string | null;
            /** @enum {string} */
            sender: "customer" | "mitra";
            /** Format: date-time */
            sent_at: string;
            text: string;
        };
        /** TranscriptOrder */
        TranscriptOrder: {
            ground?: components["schemas"]["NamedGround"] | null;
            reason: string;
        };
        /** TranscriptRequest */
        TranscriptRequest: {
            approved_at: string | null;
            approved_by: components["schemas"]["OperatorReference"] | null;
            /** Format: uuid */
            id: string;
            reason: string;
            /** Format: date-time */
            requested_at: string;
            requested_by: components["schemas"]["OperatorReference"];
            /** Format: uuid */
            session_id: string;
        };
        /** TranscriptRequests */
        TranscriptRequests: {
            items: components["schemas"]["TranscriptRequest"][];
            next_cursor?: string | null;
        };
        /** UnitPayment */
        UnitPayment: {
            amount_rp: number;
            case_id: string | null;
            /** @enum {null|string} */
            case_status: "open" | "decided" | null;
            /** Format: date-time */
            created_at: string;
            duration_minutes: number;
            /** Format: uuid */
            id: string;
            is_trial: boolean;
            left_rp: number;
            /** @enum {string} */
            purpose: "session" | "extension";
            reference: string;
            refunded_rp: number;
            requested_rp: number;
            /** @enum {string} */
            status: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded";
            taken_rp: number;
        };
        /** WeekHour */
        WeekHour: {
            failed: number;
            hour: number;
            served: number;
            weekday: number;
        };
        /** WhatIf */
        WhatIf: {
            answer: components["schemas"]["WhatIfAnswer"] | null;
            /** Format: date-time */
            asked_at: string;
            asked_by: components["schemas"]["OperatorReference"];
            finished_at: string | null;
            /** Format: uuid */
            id: string;
            problem: string | null;
            progress: number;
            question: components["schemas"]["WhatIfQuestion"];
            /** @enum {string} */
            status: "waiting" | "running" | "done" | "failed" | "cancelled";
        };
        /** WhatIfAnswer */
        WhatIfAnswer: {
            as_it_was: components["schemas"]["Replayed"];
            estimated: ("online_times" | "answer_times" | "patience" | "session_lengths" | "fallbacks" | "extra_mitras")[];
            happened: components["schemas"]["Happened"];
            is_cut: boolean;
            mitras: components["schemas"]["MitraLoad"][];
            runs: number;
            served_more: components["schemas"]["Interval"];
            /** Format: date-time */
            since: string;
            /** Format: date-time */
            until: string;
            what_if: components["schemas"]["Replayed"];
        };
        /** WhatIfBegun */
        WhatIfBegun: {
            /** Format: uuid */
            id: string;
        };
        /** WhatIfList */
        WhatIfList: {
            items: components["schemas"]["WhatIf"][];
            next_cursor?: string | null;
        };
        /** WhatIfQuestion */
        WhatIfQuestion: {
            blast_timeout_seconds?: number | null;
            extra_mitras?: components["schemas"]["ExtraMitras"] | null;
            since?: string | null;
            targeted_timeout_seconds?: number | null;
            until?: string | null;
        };
        /** WorkOfPeriod */
        WorkOfPeriod: {
            minutes: number;
            paid_sessions: number;
            requests: components["schemas"]["RequestsOfPeriod"];
            sessions: number;
            /** Format: date-time */
            since: string;
            trial_sessions: number;
        };
        /** WorkSummary */
        WorkSummary: {
            month: components["schemas"]["WorkOfPeriod"];
            /** Format: date-time */
            server_now: string;
            today: components["schemas"]["WorkOfPeriod"];
            week: components["schemas"]["WorkOfPeriod"];
            zone: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    accept_text_as_customer: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["content_texts_schemas_Acceptance"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: adults_only, forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "adults_only" | "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: text_outdated */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "text_outdated";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    sign_out_customer: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    request_customer_code: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CodeRequest"];
            };
        };
        responses: {
            /** @description Done */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CodeRequested"];
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: code_not_sent, service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "code_not_sent" | "service_unavailable";
                    };
                };
            };
        };
    };
    verify_customer_code: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CodeVerification"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerSignedIn"];
                };
            };
            /** @description `code`: code_invalid */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "code_invalid";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: call_name_required, validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "call_name_required" | "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_blocked_mitras: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BlockList"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_customer_devices: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Devices"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_customer_device: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                device_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_other_customer_devices: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_customer_profile: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerProfile"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    delete_customer: {
        parameters: {
            query?: never;
            header: {
                /** @description A one-time code to the caller's own phone, asked for as at a sign-in: request_id:code. */
                "X-Fresh-Code": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: code_invalid, fresh_code_missing, unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "code_invalid" | "fresh_code_missing" | "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: journey_in_progress */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "journey_in_progress";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    change_customer_profile: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ProfileChange"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerProfile"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    export_customer_data: {
        parameters: {
            query?: {
                format?: "json" | "html";
                language?: "id" | "en";
                zone?: string;
            };
            header: {
                /** @description A one-time code to the caller's own phone, asked for as at a sign-in: request_id:code. */
                "X-Fresh-Code": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Export"];
                    "text/html": string;
                };
            };
            /** @description `code`: code_invalid, fresh_code_missing, unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "code_invalid" | "fresh_code_missing" | "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_mitra_availability: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Request fulfilled, document follows */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Availability"];
                };
            };
        };
    };
    get_mitra_status: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                mitra_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraStatusAnswer"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: presence_unknown, service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "presence_unknown" | "service_unavailable";
                    };
                };
            };
        };
    };
    list_notices_of_customer: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.safety.reports.schemas.Notice_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    acknowledge_notice_of_customer: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                notice_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Notice"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    appeal_of_customer: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                notice_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewAppeal"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Notice"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: already_appealed, appeal_closed, idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "already_appealed" | "appeal_closed" | "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_pairing: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                pairing_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pairing"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    cancel_pairing: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                pairing_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pairing"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, pairing_decided */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "pairing_decided";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    decline_fallback: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                pairing_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: fallback_decided, idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "fallback_decided" | "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    take_fallback: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                pairing_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pairing"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: fallback_decided, idempotency_in_progress, idempotency_key_reused, no_mitra_available */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "fallback_decided" | "idempotency_in_progress" | "idempotency_key_reused" | "no_mitra_available";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: presence_unknown, service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "presence_unknown" | "service_unavailable";
                    };
                };
            };
        };
    };
    list_payments: {
        parameters: {
            query?: {
                cursor?: string | null;
                news?: boolean;
                session_id?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.journeys.schemas.CustomerPayment_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    open_payment: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PaymentOrder"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Payment"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: acceptance_needed, acknowledgement_needed, idempotency_in_progress, idempotency_key_reused, journey_in_progress, mitra_unavailable, no_mitra_available, trial_used */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "acceptance_needed" | "acknowledgement_needed" | "idempotency_in_progress" | "idempotency_key_reused" | "journey_in_progress" | "mitra_unavailable" | "no_mitra_available" | "trial_used";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: presence_unknown, service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "presence_unknown" | "service_unavailable";
                    };
                };
            };
        };
    };
    get_payment: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                payment_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerPayment"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    cancel_payment: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                payment_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Payment"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, payment_closed, payment_confirmed, payment_confirming, payment_expired */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "payment_closed" | "payment_confirmed" | "payment_confirming" | "payment_expired";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    confirm_payment: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                payment_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Confirmation"];
                };
            };
            /** @description Done */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Confirmation"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: payment_declined */
            402: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "payment_declined";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, mitra_unavailable, no_mitra_available, payment_closed, payment_expired, trial_used */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "mitra_unavailable" | "no_mitra_available" | "payment_closed" | "payment_expired" | "trial_used";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: presence_unknown, service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "presence_unknown" | "service_unavailable";
                    };
                };
            };
        };
    };
    mark_payment_seen: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                payment_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_offers: {
        parameters: {
            query: {
                purpose: "session" | "extension";
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OfferList"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_customer_push_key: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Request fulfilled, document follows */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PushKey"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    subscribe_customer_to_push: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PushSubscription"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    unsubscribe_customer_from_push: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PushSubscriptionEnd"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    issue_customer_realtime_ticket: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RealtimeTicket"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: presence_unknown, service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "presence_unknown" | "service_unavailable";
                    };
                };
            };
        };
    };
    list_reports_of_customer: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.safety.reports.schemas.Report_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_customer_sessions: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.sessions.schemas.Session_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_customer_session: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    block_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: session_running, too_many_blocks */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "session_running" | "too_many_blocks";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    unblock_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    end_session_by_customer: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["EndByCustomer"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, mitra_not_away, session_ended */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "mitra_not_away" | "session_ended";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    request_extension: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExtensionOrder"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Extension"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: extension_pending, idempotency_in_progress, idempotency_key_reused, session_ended, terms_changed */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "extension_pending" | "idempotency_in_progress" | "idempotency_key_reused" | "session_ended" | "terms_changed";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    leave_session_by_customer: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LeaveByCustomer"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LeftSession"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_customer_messages: {
        parameters: {
            query?: {
                before?: string | null;
            };
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagePage"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    send_customer_message: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewMessage"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: session_ended */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "session_ended";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    delete_chat_text: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: chat_runs */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "chat_runs";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_session_rating: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RatingState"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    rate_session: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewRating"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Rating"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, rating_closed */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "rating_closed";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    mark_read_by_customer: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MarkRead"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    report_mitra: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewReport"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Report"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: already_reported, idempotency_in_progress, idempotency_key_reused, text_gone */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "already_reported" | "idempotency_in_progress" | "idempotency_key_reused" | "text_gone";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_customer_state: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerState"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_customer_texts: {
        parameters: {
            query?: {
                language?: "id" | "en" | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TextsToAccept"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_help_lines: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpLines"];
                };
            };
            /** @description Done */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_service_facts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Request fulfilled, document follows */
            200: {
                headers: {
                    "cache-control"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ServiceFacts"];
                };
            };
        };
    };
    list_public_texts: {
        parameters: {
            query?: {
                language?: "id" | "en" | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicTexts"];
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_audit: {
        parameters: {
            query?: {
                action?: string | null;
                actor?: string | null;
                cursor?: string | null;
                format?: "json" | "csv";
                from?: string | null;
                subject?: string | null;
                subject_id?: string | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.audit.schemas.AuditEntry_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_operator_devices: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeviceList"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_operator_device: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                device_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    use_operator_link: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LinkUse"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LinkUsed"];
                };
            };
            /** @description `code`: link_invalid */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "link_invalid";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    sign_in_operator: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Login"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatorSignedIn"];
                };
            };
            /** @description `code`: credentials_invalid, totp_required */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "credentials_invalid" | "totp_required";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    sign_out_operator: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_operator_account: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatorAccount"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    change_operator_password: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasswordChange"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: credentials_invalid, unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "credentials_invalid" | "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    renew_recovery_codes: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TotpProof"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecoveryCodes"];
                };
            };
            /** @description `code`: credentials_invalid, unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "credentials_invalid" | "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required";
                    };
                };
            };
            /** @description `code`: no_enrolment_begun */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "no_enrolment_begun";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    begin_totp: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TotpBeginning"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TotpSecret"];
                };
            };
            /** @description `code`: credentials_invalid, totp_required, unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "credentials_invalid" | "totp_required" | "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    confirm_totp: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TotpProof"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RecoveryCodes"];
                };
            };
            /** @description `code`: credentials_invalid, unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "credentials_invalid" | "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required";
                    };
                };
            };
            /** @description `code`: no_enrolment_begun */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "no_enrolment_begun";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_configuration: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.configuration.schemas.ConfigurationRow_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    change_configuration: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                key: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ConfigurationOrder"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConfigurationRow"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: changed_meanwhile */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "changed_meanwhile";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_configuration_history: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path: {
                key: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.configuration.schemas.ConfigurationChange_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    search_customers: {
        parameters: {
            query?: {
                cursor?: string | null;
                format?: "json" | "csv";
                from?: string | null;
                order?: "newest" | "oldest";
                q?: string | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.records.schemas.CustomerRecord_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_customer_record: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                customer_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerDetail"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_devices_of_customer: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                customer_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Devices"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_device_of_customer: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                customer_id: string;
                device_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_devices_of_customer: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                customer_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    change_customer_suspension: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                customer_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SuspensionChange"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerDetail"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_dashboard: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Dashboard"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_dashboard_charts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Charts"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_failed_pairings: {
        parameters: {
            query?: {
                cursor?: string | null;
                format?: "json" | "csv";
                from?: string | null;
                kind?: "blast" | "targeted" | null;
                maximum_amount_rp?: number | null;
                minimum_amount_rp?: number | null;
                recovered?: boolean | null;
                tag?: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.review.schemas.FailedPairing_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_gateway_notice: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GatewayNotice"];
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_help_line_versions: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpLineVersions"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    propose_help_lines: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["HelpLineProposal"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpLineVersion"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    publish_help_lines: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                version: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HelpLineVersion"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, own_proposal, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "own_proposal" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: already_published, idempotency_in_progress, idempotency_key_reused, newer_proposal */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "already_published" | "idempotency_in_progress" | "idempotency_key_reused" | "newer_proposal";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    search_mitras: {
        parameters: {
            query?: {
                cursor?: string | null;
                format?: "json" | "csv";
                online?: boolean | null;
                q?: string | null;
                suspended?: boolean | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.records.schemas.MitraRecord_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    invite_mitra: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MitraInvitation"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["InvitedMitra"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_mitra_record: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                mitra_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraDetail"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    change_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                mitra_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MitraChange"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraRecord"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_devices_of_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                mitra_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Devices"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_device_of_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                device_id: string;
                mitra_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_devices_of_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                mitra_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_mitra_requests: {
        parameters: {
            query?: {
                cursor?: string | null;
                format?: "json" | "csv";
                from?: string | null;
                outcome?: "offered" | "accepted" | "rejected" | "closed" | null;
                to?: string | null;
            };
            header?: never;
            path: {
                mitra_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.records.schemas.MitraRequest_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_mitra_answers: {
        parameters: {
            query?: {
                from?: string | null;
                sort?: "acceptance" | "answer_time" | "unanswered" | "asked";
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraAnswersList"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_operators: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Team"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    invite_operator: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OperatorInvitation"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatorLink"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: email_taken, idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "email_taken" | "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    change_operator: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                operator_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OperatorChange"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TeamMember"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: own_account */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "own_account";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    reset_operator: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                operator_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OperatorLink"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, operator_disabled, own_account */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "operator_disabled" | "own_account";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    sign_out_other_operator: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                operator_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    search_payments: {
        parameters: {
            query?: {
                cursor?: string | null;
                customer_id?: string | null;
                format?: "json" | "csv";
                from?: string | null;
                gateway_unanswered?: boolean | null;
                order?: "newest" | "oldest";
                purpose?: "session" | "extension" | null;
                q?: string | null;
                status?: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded" | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.records.schemas.PaymentRecord_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_payment_record: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                payment_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PaymentDetail"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    open_review_case: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                payment_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OpenedCase"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReviewCaseDetail"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: case_open, idempotency_in_progress, idempotency_key_reused, journey_in_progress, nothing_to_refund */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "case_open" | "idempotency_in_progress" | "idempotency_key_reused" | "journey_in_progress" | "nothing_to_refund";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    total_payments: {
        parameters: {
            query?: {
                customer_id?: string | null;
                from?: string | null;
                gateway_unanswered?: boolean | null;
                purpose?: "session" | "extension" | null;
                q?: string | null;
                status?: "pending" | "confirming" | "confirmed" | "served" | "unserved" | "abandoned" | "expired" | "refunded" | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PaymentTotals"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_reports: {
        parameters: {
            query?: {
                cursor?: string | null;
                customer_id?: string | null;
                format?: "json" | "csv";
                from?: string | null;
                kind?: "report" | "concern" | null;
                mitra_id?: string | null;
                overdue?: boolean | null;
                reason?: "sexual" | "threat" | "insult" | "contact" | "money" | "minor" | "danger" | "not_listening" | "other" | null;
                reporter?: "customer" | "mitra" | null;
                session_id?: string | null;
                status?: "open" | "awaiting_approval" | "decided" | "appealed" | null;
                to?: string | null;
                waiting?: boolean | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.reports.schemas.QueuedReport_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_report: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                report_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReportDetail"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    decide_appeal: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                report_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AppealVerdict"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReportDetail"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, own_decision, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "own_decision" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: appeal_decided, idempotency_in_progress, idempotency_key_reused, no_appeal */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "appeal_decided" | "idempotency_in_progress" | "idempotency_key_reused" | "no_appeal";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    approve_suspension: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                report_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["SuspensionApproval"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReportDetail"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, own_decision, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "own_decision" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, nothing_to_approve */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "nothing_to_approve";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    decide_report: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                report_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ReportVerdict"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReportDetail"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, report_decided */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "report_decided";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    reveal_phone: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                report_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PhoneOrder"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RevealedPhone"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: no_vital_interest */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "no_vital_interest";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_review_cases: {
        parameters: {
            query?: {
                awaiting_approval?: boolean | null;
                cursor?: string | null;
                format?: "json" | "csv";
                from?: string | null;
                reason?: "no_session" | "cut_short" | "refund_failed" | "restored" | "mitra_away" | "unanswered" | "complaint" | "books_differ" | "reported" | null;
                refund_refused?: boolean | null;
                status?: "open" | "decided" | null;
                tag?: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.review.schemas.ReviewCase_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_review_case: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                case_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReviewCaseDetail"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    approve_refund: {
        parameters: {
            query?: {
                expected_version?: string | null;
            };
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                case_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReviewCaseDetail"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, own_refund, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "own_refund" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: changed_meanwhile, idempotency_in_progress, idempotency_key_reused, nothing_to_approve, refund_in_the_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "changed_meanwhile" | "idempotency_in_progress" | "idempotency_key_reused" | "nothing_to_approve" | "refund_in_the_way";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    decide_review_case: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                case_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Decision"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReviewCaseDetail"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: case_decided, changed_meanwhile, idempotency_in_progress, idempotency_key_reused, nothing_to_refund, refund_in_the_way */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "case_decided" | "changed_meanwhile" | "idempotency_in_progress" | "idempotency_key_reused" | "nothing_to_refund" | "refund_in_the_way";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    retry_refund: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                case_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ReviewCaseDetail"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, refund_not_failed */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "refund_not_failed";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    decide_review_cases: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Decisions"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionOutcomes"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    select_review_cases: {
        parameters: {
            query?: {
                awaiting_approval?: boolean | null;
                from?: string | null;
                reason?: "no_session" | "cut_short" | "refund_failed" | "restored" | "mitra_away" | "unanswered" | "complaint" | "books_differ" | "reported" | null;
                refund_refused?: boolean | null;
                status?: "open" | "decided" | null;
                tag?: "no_mitra_available" | "all_mitras_rejected" | "targeted_mitra_offline" | "targeted_mitra_rejected" | "targeted_mitra_timeout" | "payment_session_expired" | "customer_cancelled" | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CaseSelection"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    search_everything: {
        parameters: {
            query: {
                q: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SearchResults"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    search_sessions: {
        parameters: {
            query?: {
                cursor?: string | null;
                customer_id?: string | null;
                end_reason?: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
                format?: "json" | "csv";
                from?: string | null;
                mitra_id?: string | null;
                order?: "newest" | "oldest";
                q?: string | null;
                status?: "active" | "ended" | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.records.schemas.SessionRecord_"];
                    "text/csv": string;
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_session_record: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionDetail"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    reveal_transcript: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TranscriptOrder"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Transcript"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: approval_needed */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "approval_needed";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    total_sessions: {
        parameters: {
            query?: {
                customer_id?: string | null;
                end_reason?: "time_up" | "customer_ended" | "mitra_ended" | "mitra_suspended" | null;
                from?: string | null;
                mitra_id?: string | null;
                q?: string | null;
                status?: "active" | "ended" | null;
                to?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SessionTotals"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_texts: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CurrentTexts"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    publish_text: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TextPublication"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TextVersion"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, text_outdated */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "text_outdated";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_text_versions: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path: {
                kind: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.control_center.texts.schemas.PastVersion_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_text_version: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                kind: string;
                version: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TextVersion"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_transcript_requests: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TranscriptRequests"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    approve_transcript: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                transcript_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TranscriptRequest"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, own_transcript, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "own_transcript" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, transcript_approved */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "transcript_approved";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_what_ifs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WhatIfList"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    ask_what_if: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WhatIfQuestion"];
            };
        };
        responses: {
            /** @description Done */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WhatIfBegun"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, too_many_what_ifs */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "too_many_what_ifs";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_what_if: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                what_if_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WhatIf"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    cancel_what_if: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                what_if_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, password_change_required, totp_enrolment_required */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "password_change_required" | "totp_enrolment_required";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: what_if_finished */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "what_if_finished";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    set_gateway_behaviour: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GatewayBehaviour"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GatewayBehaviour"];
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_gateway_charges: {
        parameters: {
            query: {
                payment_id: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GatewayRecords"];
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    read_development_inbox: {
        parameters: {
            query: {
                phone: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Inbox"];
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    accept_text_as_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["content_texts_schemas_Acceptance"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: adults_only, forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "adults_only" | "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: text_outdated */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "text_outdated";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    sign_out_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    request_mitra_code: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CodeRequest"];
            };
        };
        responses: {
            /** @description Done */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CodeRequested"];
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: code_not_sent, service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "code_not_sent" | "service_unavailable";
                    };
                };
            };
        };
    };
    verify_mitra_code: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CodeVerification"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraSignedIn"];
                };
            };
            /** @description `code`: code_invalid */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "code_invalid";
                    };
                };
            };
            /** @description `code`: forbidden, not_invited, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "not_invited" | "suspended";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_blocked_customers: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BlockList"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    take_break: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BreakOrder"];
            };
        };
        responses: {
            /** @description Request fulfilled, document follows */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraPresence"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: presence_unknown */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "presence_unknown";
                    };
                };
            };
        };
    };
    list_canned_answers: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CannedAnswers"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    change_canned_answers: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CannedAnswersChange"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CannedAnswers"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: changed_meanwhile */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "changed_meanwhile";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_mitra_devices: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Devices"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_mitra_device: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                device_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    revoke_other_mitra_devices: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    accept_extension: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                extension_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Extension"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: extension_decided, idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "extension_decided" | "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    reject_extension: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                extension_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Extension"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: extension_decided, idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "extension_decided" | "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_mitra_profile: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Request fulfilled, document follows */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraProfile"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
        };
    };
    delete_mitra: {
        parameters: {
            query?: never;
            header: {
                /** @description A one-time code to the caller's own phone, asked for as at a sign-in: request_id:code. */
                "X-Fresh-Code": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: code_invalid, fresh_code_missing, unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "code_invalid" | "fresh_code_missing" | "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: journey_in_progress */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "journey_in_progress";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    export_mitra_data: {
        parameters: {
            query?: {
                format?: "json" | "html";
                language?: "id" | "en";
                zone?: string;
            };
            header: {
                /** @description A one-time code to the caller's own phone, asked for as at a sign-in: request_id:code. */
                "X-Fresh-Code": string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Export"];
                    "text/html": string;
                };
            };
            /** @description `code`: code_invalid, fresh_code_missing, unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "code_invalid" | "fresh_code_missing" | "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_notices_of_mitra: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.safety.reports.schemas.Notice_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    acknowledge_notice_of_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                notice_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Notice"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    appeal_of_mitra: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                notice_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewAppeal"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Notice"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: already_appealed, appeal_closed, idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "already_appealed" | "appeal_closed" | "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    set_presence: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PresenceChange"];
            };
        };
        responses: {
            /** @description Request fulfilled, document follows */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraPresence"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: acceptance_needed, acknowledgement_needed */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "acceptance_needed" | "acknowledgement_needed";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: presence_unknown */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "presence_unknown";
                    };
                };
            };
        };
    };
    get_mitra_push_key: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Request fulfilled, document follows */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PushKey"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    subscribe_mitra_to_push: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PushSubscription"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    unsubscribe_mitra_from_push: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PushSubscriptionEnd"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    test_push: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PushTest"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: no_push_subscription */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "no_push_subscription";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_rating_sums: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RatingSums"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    issue_mitra_realtime_ticket: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RealtimeTicket"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: presence_unknown, service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "presence_unknown" | "service_unavailable";
                    };
                };
            };
        };
    };
    list_reports_of_mitra: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.safety.reports.schemas.Report_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_requests: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RequestList"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    accept_request: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                request_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AcceptedRequest"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: already_taken, at_capacity, idempotency_in_progress, idempotency_key_reused, mitra_offline, request_closed */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "already_taken" | "at_capacity" | "idempotency_in_progress" | "idempotency_key_reused" | "mitra_offline" | "request_closed";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    reject_request: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                request_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: already_taken, idempotency_in_progress, idempotency_key_reused, request_closed */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "already_taken" | "idempotency_in_progress" | "idempotency_key_reused" | "request_closed";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_past_requests: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.journeys.schemas.PastRequest_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_mitra_sessions: {
        parameters: {
            query?: {
                cursor?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Page_curhat.sessions.schemas.MitraSession_"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_mitra_session: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraSession"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    block_customer: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: session_running, too_many_blocks */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "session_running" | "too_many_blocks";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    unblock_customer: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    raise_concern: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewConcern"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Concern"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, text_gone */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "text_gone";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    end_session_by_mitra: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EndEarly"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraSession"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused, session_ended */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused" | "session_ended";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    leave_session_by_mitra: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["LeaveByMitra"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LeftMitraSession"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: idempotency_in_progress, idempotency_key_reused */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_in_progress" | "idempotency_key_reused";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_mitra_messages: {
        parameters: {
            query?: {
                before?: string | null;
            };
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagePage"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    send_mitra_message: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewMessage"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: session_ended */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "session_ended";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_customer_note: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerNote"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    change_customer_note: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CustomerNoteChange"];
            };
        };
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CustomerNote"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: changed_meanwhile */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "changed_meanwhile";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    mark_read_by_mitra: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MarkRead"];
            };
        };
        responses: {
            /** @description Done */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    report_customer: {
        parameters: {
            query?: never;
            header: {
                /** @description A new one for each new intention; the same one to repeat a request whose answer was lost. */
                "Idempotency-Key": string;
            };
            path: {
                session_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewReport"];
            };
        };
        responses: {
            /** @description Done */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Report"];
                };
            };
            /** @description `code`: idempotency_key_missing */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "idempotency_key_missing";
                    };
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: not_found */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "not_found";
                    };
                };
            };
            /** @description `code`: already_reported, idempotency_in_progress, idempotency_key_reused, text_gone */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "already_reported" | "idempotency_in_progress" | "idempotency_key_reused" | "text_gone";
                    };
                };
            };
            /** @description `code`: body_too_large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "body_too_large";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_mitra_state: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MitraState"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    get_work_summary: {
        parameters: {
            query?: {
                zone?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkSummary"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
    list_mitra_texts: {
        parameters: {
            query?: {
                language?: "id" | "en" | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TextsToAccept"];
                };
            };
            /** @description `code`: unauthenticated */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "unauthenticated";
                    };
                };
            };
            /** @description `code`: forbidden, suspended */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "forbidden" | "suspended";
                    };
                };
            };
            /** @description `code`: validation_failed */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "validation_failed";
                    };
                };
            };
            /** @description `code`: too_many_requests */
            429: {
                headers: {
                    /** @description Seconds to wait. */
                    "Retry-After": number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "too_many_requests";
                    };
                };
            };
            /** @description `code`: service_unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"] & {
                        /** @enum {unknown} */
                        code?: "service_unavailable";
                    };
                };
            };
        };
    };
}
