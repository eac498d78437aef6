"""Callers: identities, clients, scopes, tokens and consents, in the shapes of Globus Auth.

``service.AuthService`` holds the use cases and opens the transactions; the modules named after a noun take ``tx`` and
never begin or commit. Nothing secret is stored in the clear: tokens and client secrets are kept as keyed digests.
"""
