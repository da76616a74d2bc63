"""What a person does with a card on a desk, without any server: look, switch, watch, listen to the dialogue.

``words`` and the plans are pure; what speaks to a card takes a ``Desk``.
"""
