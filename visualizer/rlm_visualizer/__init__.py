"""The pages in which a run can be understood. They read `rlm.trajectory`, write nothing, and reach nothing else.

What is recorded is hostile. It reaches the browser as the text of an element or as the value of `st.code`, never as
markup, and always through `rlm.core.plain`.
"""
