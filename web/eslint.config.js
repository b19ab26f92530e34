/** ESLint finds mistakes that TypeScript and svelte-check accept. Prettier checks the style. */
import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import { defineConfig } from 'eslint/config';
import ts from 'typescript-eslint';
import { supportedByBaseline } from './build/eslint-baseline.ts';
import svelteConfig from './svelte.config.js';

/**
 * Platform functions that the clients use although a browser of .browserslistrc lacks them.
 * A new function needs a reason here, or a replacement in shared/baseline.ts.
 */
const BASELINE_EXCEPTIONS = {
    HTMLDialogElement:
        'shared/ui/Dialog.svelte: missing in Safari 15.3 and Firefox 97; issue 11, point 18, mends it',
    // Before use, shared/push/ checks that a browser has all of these functions. In a browser without them, the app has
    // no notifications.
    Notification:
        'shared/push/push.svelte.ts, shared/push/start.ts and mitra/screens/Home.svelte ask for it first',
    PushManager: 'shared/push/push.svelte.ts asks for it first',
    PushSubscription: 'exists where PushManager does',
    PushSubscriptionOptions: 'exists where PushManager does',
    'ServiceWorkerRegistration.pushManager': 'exists where PushManager does',
    'ServiceWorkerRegistration.getNotifications': 'exists where Notification does',
    'ServiceWorkerRegistration.showNotification': 'shared/worker/worker.ts: called when a push arrives',
    NotificationEvent: 'shared/worker/worker.ts: exists where it is fired',
    PushEvent: 'shared/worker/worker.ts: exists where it is fired',
    PushMessageData: 'exists where PushEvent does',
    // Only some phones can vibrate, and the client first checks that the function exists.
    'Navigator.vibrate': 'mitra/alarm.svelte.ts asks for it first',
    'Navigator.userActivation': 'mitra/alarm.svelte.ts: without it the phone rings and does not vibrate',
    UserActivation: 'exists where Navigator.userActivation does',
};

/** Syntax that Chrome 87 cannot parse. The build does not convert it: see `build.target` of Vite. */
const NEWER_SYNTAX = [
    { selector: 'StaticBlock', message: 'Chrome 93 and older cannot read a static block.' },
    {
        selector: "BinaryExpression[operator='in'][left.type='PrivateIdentifier']",
        message: 'Chrome 90 and older cannot read `#name in object`.',
    },
    {
        selector: 'Literal[regex.flags=/[dv]/]',
        message: 'Chrome 89 and older cannot read the flags d and v.',
    },
];

export default defineConfig(
    { ignores: ['dist', 'shared/api/openapi.ts', 'shared/realtime/frames.ts'] },
    { linterOptions: { reportUnusedDisableDirectives: 'error' } },
    js.configs.recommended,
    ts.configs.recommended,
    svelte.configs.recommended,
    {
        files: ['**/*.svelte', '**/*.svelte.ts'],
        languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
    },
    {
        files: ['{customer,mitra,control-center,shared}/**/*.{ts,svelte}'],
        languageOptions: { parserOptions: { projectService: true, extraFileExtensions: ['.svelte'] } },
        plugins: { curhat: { rules: { 'supported-by-baseline': supportedByBaseline } } },
        rules: {
            'curhat/supported-by-baseline': ['error', BASELINE_EXCEPTIONS],
            '@typescript-eslint/await-thenable': 'error',
            '@typescript-eslint/no-floating-promises': 'error',
            '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
            '@typescript-eslint/switch-exhaustiveness-check': [
                'error',
                { considerDefaultExhaustiveForUnions: true },
            ],
            'no-restricted-syntax': ['error', ...NEWER_SYNTAX],
            // TypeScript reports unknown names.
            'no-undef': 'off',
            // The clients have no Svelte stores, and this rule takes seconds.
            'svelte/require-store-reactive-access': 'off',
            // The stores keep each Map and Date in `$state.raw`. The stores replace a Map or Date, and never change it.
            'svelte/prefer-svelte-reactivity': 'off',
        },
    },
    {
        // A service worker has other global types than a page.
        files: ['shared/worker/**'],
        languageOptions: { parserOptions: { projectService: false, project: 'tsconfig.worker.json' } },
    },
    { files: ['**/*.test.ts'], rules: { 'curhat/supported-by-baseline': 'off' } },
);
